"""The embedded bundle, and the function over it under the Runtime Interface Emulator."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle
from lambda_app.errors import BundleError
from scripts.local.embedded_bundle import CACHE, MODELS, ensure_bundle
from scripts.local.rie import Emulator, EmulatorError, can_emulate, ensure_binary

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@contextmanager
def one_process() -> Iterator[None]:
    """Keeps the other processes of a run waiting: what one of them makes is there for all."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Directory of the embedded bundle: ``models/``, or a copy in the cache where that holds other models."""
    with one_process():
        try:
            embedding = Bundle.open(MODELS).embedding
        except BundleError:
            embedding = None
        foreign = embedding is not None and embedding.id != MINILM
        return ensure_bundle(CACHE / "test-models" if foreign else MODELS).directory


@pytest.fixture(scope="session")
def rie() -> Path:
    """The emulator's binary; tests that need it are skipped where it cannot run."""
    if not can_emulate():
        pytest.skip("the Runtime Interface Emulator runs on Linux only")
    try:
        with one_process():
            return ensure_binary()
    except EmulatorError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def emulator(rie: Path, minilm: Path) -> Iterator[Emulator]:
    """The function under the emulator, all of it preloaded."""
    with Emulator({"MODEL_DIR": str(minilm), "RESULT_SINK": "discard"}) as running:
        yield running
