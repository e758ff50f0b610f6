"""Fixtures that are shared beyond one module and come from a module of their own."""

pytest_plugins = ["tests.support.emulator_fixtures", "tests.support.image_fixtures"]
