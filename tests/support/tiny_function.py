"""The real function over the tiny bundle: its environment, and short ways to ask it."""

from __future__ import annotations

from typing import Any

import numpy as np

from lambda_app.bundle import Bundle
from lambda_app.dispatch import Dispatcher
from tests.support.fakes import Context

TEXTS = [
    "short",
    "a somewhat longer text about embeddings",
    "x " * 80,
    "naïve café",
    "東京は日本の首都です。",
    "😀",
]


def environ(bundle: Bundle, **more: str) -> dict[str, str]:
    return {"MODEL_DIR": str(bundle.directory), "LOG_LEVEL": "ERROR", **more}


def call(function: Dispatcher, event: Any) -> Any:
    return function(event, Context())


def embed(function: Dispatcher, texts: list[str], **more: Any) -> np.ndarray:
    return np.array(call(function, {"action": "embed", "texts": texts, **more})["embeddings"])
