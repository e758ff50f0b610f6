"""Direct invocation: ``{"action": ...}`` events from pipelines, without a web layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing import input_type as roles
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.errors import DeadlineError, FieldError, LambdaAppError, ResponseTooLargeError
from lambda_app.service.types import EmbedRequest, RerankRequest

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service

ENCODINGS = ("float", "base64")
SHARED_FIELDS = ("action", "model", "max_response_bytes")
EMBED_FIELDS = (*SHARED_FIELDS, "texts", "input_type", "encoding", "dimensions")
RERANK_FIELDS = (*SHARED_FIELDS, "query", "documents", "top_n", "raw_scores")


def error_object(error: LambdaAppError) -> dict[str, Any]:
    """A typed error as direct invocation answers it."""
    detail: dict[str, Any] = {"code": error.code, "message": error.message, "param": error.param}
    if isinstance(error, DeadlineError):
        detail |= {"done": error.done, "total": error.total}
    if isinstance(error, ResponseTooLargeError):
        detail["fit"] = error.fit
    return {"error": detail}


class DirectDoor:
    """Takes an event with an ``action`` and gives a plain JSON-ready answer; errors are raised."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._actions: dict[str, Callable[[Mapping[str, Any], Invocation], dict[str, Any]]] = {
            "embed": self._embed,
            "rerank": self._rerank,
            "info": self._info,
            "ping": self._ping,
        }

    def __call__(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        """Runs the event's action.

        Raises:
            RequestError: the event cannot be served as it is.
        """
        action = event["action"]
        run = self._actions.get(action) if isinstance(action, str) else None
        if run is None:
            known = ", ".join(self._actions)
            raise FieldError(f"action must be one of {known}", param="action", code="unknown_action")
        return run(event, invocation)

    def _embed(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        fields.reject_unknown(event, EMBED_FIELDS)
        fields.optional_text(event, "model")
        encoding = fields.optional_choice(event, "encoding", ENCODINGS, "float")
        result = self._service.embed(
            EmbedRequest(
                texts=fields.texts(event, "texts", most=self._service.limits.embed_texts),
                input_type=roles.input_type(event, default="passage"),
                encodings=(encoding,),
                dimensions=fields.optional_integer(event, "dimensions"),
            ),
            invocation.with_response_limit(fields.optional_integer(event, "max_response_bytes")),
        )
        return {
            "model": result.model,
            "dimensions": result.dimensions,
            "embeddings": encode_vectors(result.vectors, as_base64=encoding == "base64"),
            "usage": {"tokens": result.tokens},
            "truncated": list(result.truncated),
        }

    def _rerank(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        fields.reject_unknown(event, RERANK_FIELDS)
        fields.optional_text(event, "model")
        result = self._service.rerank(
            RerankRequest(
                query=fields.text(event, "query"),
                documents=fields.texts(event, "documents", most=self._service.limits.rerank_documents),
                top_n=fields.optional_integer(event, "top_n"),
                raw_scores=fields.optional_flag(event, "raw_scores"),
            ),
            invocation.with_response_limit(fields.optional_integer(event, "max_response_bytes")),
        )
        return {
            "model": result.model,
            "results": [{"index": index, "score": score} for index, score in result.results],
            "usage": {"tokens": result.tokens},
            "truncated": list(result.truncated),
        }

    def _info(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        fields.reject_unknown(event, ("action",))
        from lambda_app.api.providers.info import describe

        return describe(self._service, event, invocation)

    def _ping(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        # Warm-up plugins add fields of their own; a ping is never worth refusing.
        return {"ok": True}
