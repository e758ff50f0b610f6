"""Fixtures that are shared beyond one module and come from a module of their own."""

pytest_plugins = ["tests.emulator_fixtures", "tests.image_fixtures"]
