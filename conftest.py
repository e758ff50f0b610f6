"""Fixtures that are shared beyond one module and come from a module of their own."""

import pytest

# Failed assertions in helpers show their values, too.
pytest.register_assert_rewrite("tests.support")
pytest_plugins = [
    "pytester",
    *("tests.support.emulator_fixtures", "tests.support.image_fixtures", "tests.support.require_all"),
]
