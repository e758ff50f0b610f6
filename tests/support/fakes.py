"""A function without files: models whose outputs follow from their inputs, for tests of APIs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lambda_app.bundle import Bundle, ModelInfo, Quantization, RerankKind
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.coldstart.logs import JsonLog
from lambda_app.dispatch import Dispatcher
from lambda_app.invocation import Invocation
from lambda_app.limits import Limits
from lambda_app.models.embedder import EmbedOutput, InputType
from lambda_app.models.inference import Checkpoint, OnEmpty, OnTokens, OnTruncated
from lambda_app.models.reranker import RerankOutput
from lambda_app.models.tokenizer.tokenizer import Token
from lambda_app.service.service import Service
from lambda_app.settings import LOG_LEVELS, Settings

# Error responses stay smaller than this, whatever was sent.
ERROR_BYTES = 4_096
DIMENSIONS = 4


def model_info(task: str, **changes: Any) -> ModelInfo:
    """A description that needs no files."""
    fields: dict[str, Any] = {
        "task": task,
        "directory": Path("nowhere") / task,
        "id": f"test/{task}",
        "source": {"kind": "test", "revision": "0" * 40},
        "architecture": "bert",
        "hidden_size": DIMENSIONS,
        "dimensions": DIMENSIONS,
        "matryoshka": (),
        "max_tokens": 16,
        "pooling": "mean",
        "prompts": {"query": "query: ", "passage": "passage: "},
        "activation": "sigmoid" if task == "reranker" else None,
        "quantization": Quantization("int8", 7, ("avx2",), False),
        "tokenizer_kind": "library",
        "pad_token_id": 0,
        "inputs": ("input_ids", "attention_mask"),
        "tensors": (),
        "files": (),
        "parity": {},
        "fingerprint": f"sha256:{task}",
    }
    return ModelInfo(**(fields | changes))


@dataclass
class FakeEmbedder:
    """A vector that depends on the length of the text and on its input type; one token a character."""

    model: ModelInfo = field(default_factory=lambda: model_info("embedding"))
    fill: float | None = None
    asked: dict[str, Any] = field(default_factory=dict)

    def embed(
        self,
        texts: Sequence[str],
        input_type: InputType,
        *,
        truncation_side: str = "right",
        max_tokens: int | None = None,
        on_truncated: OnTruncated | None = None,
        on_empty: OnEmpty | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> EmbedOutput:
        self.asked = {"truncation_side": truncation_side, "max_tokens": max_tokens}
        limit = min(self.model.max_tokens, max_tokens or self.model.max_tokens)
        cut_texts = tuple(index for index, text in enumerate(texts) if len(text) > limit)
        if cut_texts and on_truncated is not None:
            on_truncated(cut_texts)
        if checkpoint is not None:
            checkpoint(0)
        second = {"query": 1.0, "passage": 2.0, "none": 3.0}[input_type]
        rows = [[float(len(text)), second, 1 / 3, self.fill or 0.0] for text in texts]
        vectors = np.array(rows, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return EmbedOutput(vectors, sum(map(len, texts)), cut_texts)

    def tokens(
        self,
        texts: Sequence[str],
        input_type: InputType,
        *,
        special: bool,
        on_tokens: OnTokens | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[list[Token]]:
        if checkpoint is not None:
            checkpoint(0)
        if on_tokens is not None:
            on_tokens(sum(map(len, texts)))
        around = [Token(0, "[CLS]", True)] if special else []
        return [[*around, *(Token(ord(letter), letter, False) for letter in text)] for text in texts]

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def text_tokens(self, input_type: InputType) -> int:
        return self.model.max_tokens


@dataclass
class FakeReranker:
    """The logit is the number of query characters that the document shares, minus one."""

    model: ModelInfo = field(default_factory=lambda: model_info("reranker"))
    asked: dict[str, Any] = field(default_factory=dict)

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        truncation_side: str = "right",
        max_document_tokens: int | None = None,
        on_truncated: OnTruncated | None = None,
        on_empty: OnEmpty | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RerankOutput:
        self.asked = {"truncation_side": truncation_side, "max_document_tokens": max_document_tokens}
        limit = min(self.model.max_tokens, max_document_tokens or self.model.max_tokens)
        cut_texts = tuple(index for index, text in enumerate(documents) if len(text) > limit)
        if cut_texts and on_truncated is not None:
            on_truncated(cut_texts)
        if checkpoint is not None:
            checkpoint(0)
        logits = [len(set(query) & set(document)) - 1.0 for document in documents]
        return RerankOutput(np.array(logits, dtype=np.float32), sum(map(len, documents)), cut_texts)


class FakeRuntime:
    """What the service asks of a runtime."""

    def __init__(self, settings: Settings, rerank_kind: RerankKind = "cross-encoder") -> None:
        self.settings = settings
        self.clock = PhaseClock()
        self.threads = 1
        self.embedder = FakeEmbedder()
        self.reranker = FakeReranker()
        reranker = self.reranker.model if rerank_kind == "cross-encoder" else None
        self.bundle = Bundle(Path("nowhere"), {}, self.embedder.model, reranker, rerank_kind)

    def serves(self, task: str) -> bool:
        return self.settings.models is None or task in self.settings.models

    @property
    def ranks_with_embedder(self) -> bool:
        return self.bundle.rerank_kind == "bi-encoder" and self.serves("reranker")

    @property
    def uses_embedder(self) -> bool:
        return self.serves("embedding") or self.ranks_with_embedder


@dataclass
class Context:
    """Lambda's context object, as far as the function reads it."""

    aws_request_id: str = "request-1"
    seconds: float = 30.0
    started: float = field(default_factory=time.monotonic)

    def get_remaining_time_in_millis(self) -> int:
        return int((self.seconds - (time.monotonic() - self.started)) * 1000)


def invocation(**changes: Any) -> Invocation:
    """An invocation without a deadline, whose log says nothing."""
    return Invocation.from_context(None, JsonLog(LOG_LEVELS["ERROR"]))._replace(**changes)


def fake_service(
    environ: Mapping[str, str] | None = None,
    *,
    limits: Limits | None = None,
    rerank_kind: RerankKind = "cross-encoder",
) -> Service:
    """A service over fake models."""
    runtime = FakeRuntime(Settings.from_env(environ or {}), rerank_kind)
    return Service(runtime, limits)  # type: ignore[arg-type]  # the part of a runtime that a service uses


def fake_dispatcher(
    environ: Mapping[str, str] | None = None,
    *,
    limits: Limits | None = None,
    rerank_kind: RerankKind = "cross-encoder",
) -> Dispatcher:
    """The whole handler over fake models."""
    settings = Settings.from_env(environ or {})
    service = fake_service(environ, limits=limits, rerank_kind=rerank_kind)
    return Dispatcher(service, settings, JsonLog(settings.log_level), PhaseClock())


def http_v2(
    path: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """An HTTP API (payload 2.0) event; ``body`` is sent as it is when it is a string or None."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "id.execute-api.example", **(headers or {})},
        "requestContext": {
            "http": {
                "method": method or ("GET" if body is None else "POST"),
                "path": path,
                "sourceIp": "192.0.2.1",
            },
            "stage": "$default",
            "requestId": "gateway-1",
        },
        "body": body if body is None or isinstance(body, str) else _dump(body),
        "isBase64Encoded": False,
    }


def _dump(value: Any) -> str:
    import json

    return json.dumps(value)
