"""The embedded bundle, and the function over it under the Runtime Interface Emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle
from lambda_app.errors import BundleError
from scripts.local.embedded_bundle import CACHE, MODELS, ensure_bundle
from scripts.local.rie import Emulator, EmulatorError, can_emulate, ensure_binary

MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Directory of the embedded bundle: ``models/``, or a copy in the cache where that holds other models."""
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
        return ensure_binary()
    except EmulatorError as error:
        pytest.fail(str(error))


@pytest.fixture(scope="module")
def emulator(rie: Path, minilm: Path) -> Iterator[Emulator]:
    """The function under the emulator, all of it preloaded."""
    with Emulator({"MODEL_DIR": str(minilm), "RESULT_SINK": "discard"}) as running:
        yield running
