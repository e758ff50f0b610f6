"""Fixtures that several tests of the function share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.start import start
from tests.support.tiny_function import environ

if TYPE_CHECKING:
    from tests.support.bulk_storage import Storage


@pytest.fixture(scope="session")
def function(tiny_bundle: Bundle) -> Dispatcher:
    """The real function over the tiny bundle."""
    return start(environ(tiny_bundle), PhaseClock())


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """One S3 for all."""
    from scripts.dev.local_s3 import s3_server  # moto is slow to import

    with s3_server() as address:
        yield address


@pytest.fixture
def store(s3_address: str) -> Iterator[Storage]:
    """The S3, emptied before each test."""
    from tests.support.bulk_storage import storage

    with storage(s3_address) as opened:
        yield opened


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What a sink in the caller's module ``a_users_module`` got."""
    results: list[dict[str, Any]] = []
    module = ModuleType("a_users_module")
    module.store = results.extend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    return results
