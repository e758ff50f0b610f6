"""Direct invocation: ``{"action": ...}`` events from pipelines, without a web layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.api.response_size import check_size
from lambda_app.errors import DeadlineError, FieldError, LambdaAppError, ResponseTooLargeError
from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest, RerankRequest

ENCODINGS = ("float", "base64")
SHARED_FIELDS = ("action", "model", "max_response_bytes")
EMBED_FIELDS = (*SHARED_FIELDS, "texts", "input_type", "encoding", "dimensions")
RERANK_FIELDS = (*SHARED_FIELDS, "query", "documents", "top_n", "raw_scores")


def matches(event: Any) -> bool:
    """Whether an event names an action."""
    return isinstance(event, dict) and "action" in event


def answer(service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Answers one event.

    Raises:
        RequestError: the event cannot be served as it is.
        DeadlineError: time ran out.
    """
    invocation = limited(event, invocation)
    response = run(service, event, invocation)
    check_size(response, invocation.response_bytes, invocation.usage.items)
    return Result(response)


def limited(event: Mapping[str, Any], invocation: Invocation) -> Invocation:
    """Returns the invocation with the event's own ``max_response_bytes``, where its action reads that."""
    if event.get("action") not in ("embed", "rerank"):
        return invocation
    return invocation.with_response_limit(fields.optional_integer(event, "max_response_bytes"))


def run(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Runs the event's action; its response is ready for JSON, and its size is not checked yet.

    Raises:
        RequestError: the event cannot be served as it is.
        DeadlineError: time ran out.
    """
    action = event["action"]
    chosen = ACTIONS.get(action) if isinstance(action, str) else None
    if chosen is None:
        known = ", ".join(ACTIONS)
        raise FieldError(f"action must be one of {known}", param="action", code="unknown_action")
    return chosen(service, event, invocation)


def error_object(error: LambdaAppError) -> dict[str, Any]:
    """Returns a typed error in the format of direct invocation."""
    details: dict[str, Any] = {"code": error.code, "message": error.message, "param": error.param}
    if isinstance(error, DeadlineError):
        details |= {"done": error.done, "total": error.total}
    if isinstance(error, ResponseTooLargeError):
        details["fit"] = error.fit
    return {"error": details}


def _embed(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    fields.reject_unknown(event, EMBED_FIELDS)
    fields.optional_text(event, "model")
    encoding = fields.optional_choice(event, "encoding", ENCODINGS, "float")
    request = EmbedRequest(
        texts=fields.texts(event, "texts", max_items=service.limits.embed_texts),
        input_type=fields.optional_meaning(event, "input_type", INPUT_TYPES) or "passage",
        encodings=(encoding,),
        dimensions=fields.optional_integer(event, "dimensions"),
    )
    result = service.embed(request, invocation)
    return {
        "model": result.model,
        "dimensions": result.dimensions,
        "embeddings": encode_vectors(result.vectors, as_base64=encoding == "base64"),
        "usage": {"tokens": result.tokens},
        "truncated": list(result.truncated),
    }


def _rerank(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    fields.reject_unknown(event, RERANK_FIELDS)
    fields.optional_text(event, "model")
    request = RerankRequest(
        query=fields.text(event, "query"),
        documents=fields.texts(event, "documents", max_items=service.limits.rerank_documents),
        top_n=fields.optional_integer(event, "top_n"),
        raw_scores=fields.optional_flag(event, "raw_scores"),
    )
    result = service.rerank(request, invocation)
    return {
        "model": result.model,
        "results": [{"index": index, "score": score} for index, score in result.results],
        "usage": {"tokens": result.tokens},
        "truncated": list(result.truncated),
    }


def _info(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    fields.reject_unknown(event, ("action",))
    from lambda_app.api.providers.info import describe

    return describe(service, event, invocation)


def _ping(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    # Warm-up plugins add fields of their own: a ping is never refused.
    return {"ok": True}


ACTIONS: Mapping[str, Callable[[Service, Mapping[str, Any], Invocation], dict[str, Any]]] = {
    "embed": _embed,
    "rerank": _rerank,
    "info": _info,
    "ping": _ping,
}
