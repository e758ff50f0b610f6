"""Requests of client APIs to a function of fake models."""

from __future__ import annotations

import json
from typing import Any

from lambda_app.dispatch import Dispatcher
from tests.support.fakes import Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
LONG = "x" * 20  # the fake models read 16 characters
DOCUMENTS = ["xa", "abc", "zz", "ab"]
RERANK = {"query": "abc", "documents": DOCUMENTS}
ORDER = [1, 3, 0, 2]


def send(path: str, body: Any = None, dispatcher: Dispatcher = DISPATCHER, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = dispatcher(http_v2(path, body, **options), Context())
    return answer


def ask(path: str, body: Any = None, status: int = 200, dispatcher: Dispatcher = DISPATCHER) -> Any:
    answer = send(path, body, dispatcher)
    assert answer["statusCode"] == status, answer["body"]
    return json.loads(answer["body"])


def vector(text: str, input_type: str) -> list[float]:
    """What direct invocation answers: every API has to agree with it."""
    answer = DISPATCHER({"action": "embed", "texts": [text], "input_type": input_type}, Context())
    found: list[float] = answer["embeddings"][0]
    return found
