"""Runs a job of bulk as the state machine does, without one: plan, each part until it is done, finish."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from lambda_app.dispatch import Dispatcher
from lambda_app.errors import DeadlineError
from tests.support.bulk_storage import IN, OUT, Storage
from tests.support.fakes import Context

SOURCE, OUTPUT = f"s3://{IN}/in", f"s3://{OUT}/out"


def job(**changes: Any) -> dict[str, Any]:
    """The fields of a job over the bucket of texts."""
    return {"source": SOURCE, "output": OUTPUT, "encoding": "base64"} | changes


def jsonl(rows: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


class Runner:
    """Calls the handler as Step Functions does; each call has ``seconds``."""

    def __init__(self, handler: Dispatcher, store: Storage, seconds: float = 60.0) -> None:
        self.handler = handler
        self.store = store
        self.seconds = seconds
        self.calls = 0

    def call(self, event: dict[str, Any]) -> dict[str, Any]:
        self.calls += 1
        # Through JSON, as events and responses go.
        context = Context(seconds=self.seconds, started=time.monotonic())
        response: dict[str, Any] = json.loads(
            json.dumps(self.handler(json.loads(json.dumps(event)), context))
        )
        # A state holds no more.
        assert len(json.dumps(response)) < 256 * 1024
        return response

    def make_late(self, monkeypatch: pytest.MonkeyPatch, every: int) -> None:
        """Has each call of the model whose number is a multiple of ``every`` run out of time."""
        service = self.handler._service
        embed, calls = service.embed, [0]

        def late(request: Any, invocation: Any) -> Any:
            calls[0] += 1
            if calls[0] % every == 0:
                raise DeadlineError("late", done=0, total=len(request.texts))
            return embed(request, invocation)

        monkeypatch.setattr(service, "embed", late)

    def plan(self, fields: dict[str, Any]) -> list[dict[str, Any]]:
        response = self.call({"action": "plan", "job": fields})
        assert "error" not in response, response
        lines: list[dict[str, Any]] = self.store.lines_at(response["plan"])
        assert len(lines) == response["parts"]
        return lines

    def part(self, fields: dict[str, Any], part: dict[str, Any]) -> list[dict[str, Any]]:
        """The responses to a part, until it is done."""
        event = {"action": "embed_object", "job": fields, "part": part, "continue": None}
        responses = []
        while True:
            response = self.call(event)
            assert "error" not in response, response
            responses.append(response)
            if response["done"]:
                return responses
            event = event | {"continue": response["continue"]}
            assert self.calls < 10_000

    def run(self, **changes: Any) -> dict[str, Any]:
        """The whole job; returns the response to ``finish``."""
        fields = job(**changes)
        for part in self.plan(fields):
            self.part(fields, part)
        return self.call({"action": "finish", "job": fields})


def vector(value: Any) -> np.ndarray:
    """A vector as a line holds it."""
    if isinstance(value, str):
        return np.frombuffer(base64.b64decode(value), dtype="<f4")
    return np.array(value, dtype=np.float32)
