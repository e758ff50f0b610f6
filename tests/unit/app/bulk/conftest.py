"""One S3 for all, emptied before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scripts.dev.local_s3 import s3_server
from tests.support.bulk_storage import Storage, storage


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def store(s3_address: str) -> Iterator[Storage]:
    with storage(s3_address) as opened:
        yield opened
