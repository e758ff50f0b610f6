"""Requests to the running function with real weights, and what its answers have to be."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest

from scripts.local.rie import Emulator
from scripts.paths import ROOT
from tests.support.golden_events import golden_vectors

EVENTS = ROOT / "events"
# Those of events/ that a function serves by itself. The others need a bucket, as test_objects.py has one.
SERVED_EVENTS = [path for path in sorted(EVENTS.glob("*.json")) if path.stem not in {"s3", "s3-batch"}]
GOLDEN = golden_vectors()
# Between the FP32 model in PyTorch and this INT8 bundle.
MIN_COSINE = 0.97
DIMENSIONS = 384
ERROR_BYTES = 4096
SECRET = "xyzzy-caller-text"
GOOD = {"action": "embed", "texts": ["Yellow fever is transmitted by mosquitoes."]}


def read_event(name: str) -> Any:
    return json.loads((EVENTS / name).read_text(encoding="utf-8"))


def http_event(
    body: str, path: str = "/v1/embeddings", method: str = "POST", **changes: Any
) -> dict[str, Any]:
    event = read_event("http-v2-embed.json")
    event["rawPath"] = event["requestContext"]["http"]["path"] = path
    event["requestContext"]["http"]["method"] = method
    return {**event, "body": body, **changes}


def body_of(answer: Any) -> Any:
    assert answer["isBase64Encoded"] is False
    return json.loads(answer["body"])


def cosine(a: Any, b: Any) -> float:
    return float(np.dot(np.asarray(a, np.float64), np.asarray(b, np.float64)))


def assert_vectors(vectors: list[Any], texts: list[str]) -> None:
    assert len(vectors) == len(texts)
    for vector, text in zip(vectors, texts, strict=True):
        floats = (
            struct.unpack(f"<{DIMENSIONS}f", base64.b64decode(vector)) if isinstance(vector, str) else vector
        )
        assert len(floats) == DIMENSIONS
        assert np.linalg.norm(floats) == pytest.approx(1, abs=1e-5)
        assert cosine(floats, GOLDEN[text]) > MIN_COSINE


def alive(emulator: Emulator) -> int:
    """The process id of the function, after a request that it answers well."""
    assert_vectors(emulator.invoke(GOOD)["embeddings"], GOOD["texts"])  # type: ignore[arg-type]
    pid = emulator.runtime_pid
    assert pid is not None
    return pid


def assert_small_and_silent(raw: bytes) -> None:
    assert len(raw) < ERROR_BYTES
    assert SECRET.encode() not in raw
