"""Fixtures that several tests of the function share."""

from __future__ import annotations

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.start import start
from tests.support.tiny_function import environ


@pytest.fixture(scope="session")
def function(tiny_bundle: Bundle) -> Dispatcher:
    """The real function over the tiny bundle."""
    return start(environ(tiny_bundle), PhaseClock())
