"""Direct invocation: ``{"action": ...}`` events from pipelines, without a web layer.

Their fields are declared here, as those of HTTP bodies are beside their functions. ``id`` is not among them:
it belongs to an event among others (``batch.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.choices import Choice
from lambda_app.api.parsing.input_type import INPUT_TYPES, agreed, of_model_name
from lambda_app.api.parsing.request import AnyText, Flag, Integer, Request, Text, Texts
from lambda_app.api.parsing.vectors import ENCODINGS, encode_vectors
from lambda_app.api.response_size import check_size
from lambda_app.errors import DeadlineError, FieldError, LambdaAppError, ResponseTooLargeError
from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest, RerankRequest

# Callers that read the answers of Cohere's API find scores under its name.
SCORE_FIELDS = {"score": "score", "relevance_score": "relevance_score"}


class Action(Choice[str]):
    """The word that chose the request."""

    def __init__(self, word: str) -> None:
        super().__init__({word: word})
        self.required = True


class ModelEvent(Request):
    """What all events that run a model may say."""

    refuses_unknown = True

    model = AnyText("Any name: the response names the real model.")
    max_response_bytes = Integer("The size of the largest response that the caller can read.")


class EmbedEvent(ModelEvent):
    """Texts to embed."""

    action = Action("embed")
    texts = Texts("embed_texts", "One text or a list of texts.")
    model = AnyText("Any name. One that ends in `:query`, `:passage` or `:none` states the input type.")
    input_type = Choice(INPUT_TYPES, "Selects the prompt: passage unless it is stated.")
    encoding = Choice(ENCODINGS, "How vectors are written: float unless it is stated.")
    dimensions = Integer("Fewer than the model has, where it was trained for that.")


class RerankEvent(ModelEvent):
    """Documents to rank by relevance to a query."""

    action = Action("rerank")
    query = Text()
    documents = Texts("rerank_documents", "One text or a list of texts.")
    top_n = Integer("How many of the best documents are returned: all unless it is stated.")
    raw_scores = Flag("Returns the model's own scores instead of scores between 0 and 1.")
    score_field = Choice(SCORE_FIELDS, "What each score is called: score unless it is stated.")


class InfoEvent(Request):
    """Asks for what runs here."""

    refuses_unknown = True

    action = Action("info")


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
    if action_of(event) not in ("embed", "rerank"):
        return invocation
    return invocation.with_response_limit(fields.optional_integer(event, "max_response_bytes"))


def run(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Runs the event's action; its response is ready for JSON, and its size is not checked yet.

    Raises:
        RequestError: the event cannot be served as it is.
        DeadlineError: time ran out.
    """
    action = action_of(event)
    if action is None:
        known = ", ".join(ACTIONS)
        raise FieldError(f"action must be one of {known}", param="action", code="unknown_action")
    return ACTIONS[action](service, event, invocation)


def action_of(event: Mapping[str, Any]) -> str | None:
    """Returns the action that an event names, or None if there is none of that name."""
    return fields.word_of(event.get("action"), ACTIONS)


def error_object(error: LambdaAppError) -> dict[str, Any]:
    """Returns a typed error in the format of direct invocation."""
    details: dict[str, Any] = {"code": error.code, "message": error.message, "param": error.param}
    if isinstance(error, DeadlineError):
        details |= {"done": error.done, "total": error.total}
    if isinstance(error, ResponseTooLargeError):
        details["fit"] = error.fit
    return {"error": details}


def _embed(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    request = EmbedEvent(event, service.limits, invocation, "the event")
    encoding = request.encoding or "float"
    result = service.embed(
        EmbedRequest(
            texts=request.texts,
            input_type=agreed(
                {
                    "input_type": request.input_type,
                    "model": of_model_name(request.model, has_prompts=service.has_prompts),
                },
                default="passage",
            ),
            encodings=(encoding,),
            dimensions=request.dimensions,
        ),
        invocation,
    )
    return {
        "model": result.model,
        "dimensions": result.dimensions,
        "embeddings": encode_vectors(result.vectors, as_base64=encoding == "base64"),
        "usage": {"tokens": result.tokens},
        "truncated": list(result.truncated),
    }


def _rerank(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    request = RerankEvent(event, service.limits, invocation, "the event")
    name = request.score_field or "score"
    result = service.rerank(
        RerankRequest(
            query=request.query,
            documents=request.documents,
            top_n=request.top_n,
            raw_scores=request.raw_scores,
        ),
        invocation,
    )
    return {
        "model": result.model,
        "results": [{"index": index, name: score} for index, score in result.results],
        "usage": {"tokens": result.tokens},
        "truncated": list(result.truncated),
    }


def _info(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    InfoEvent(event, service.limits, invocation, "the event")
    from lambda_app.api.providers.info import describe

    return describe(service, event, invocation)


def _ping(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    # Warm-up plugins add fields of their own: a ping is never refused.
    return {"ok": True}


def _plan(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    from lambda_app.bulk import plan

    return plan.run(service, event, invocation)


def _embed_object(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    from lambda_app.bulk import embed_object

    return embed_object.run(service, event, invocation)


def _finish(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    from lambda_app.bulk import finish

    return finish.run(service, event, invocation)


ACTIONS: Mapping[str, Callable[[Service, Mapping[str, Any], Invocation], dict[str, Any]]] = {
    "embed": _embed,
    "rerank": _rerank,
    "info": _info,
    "ping": _ping,
    # Jobs over objects in S3, whose module the first of them imports.
    "plan": _plan,
    "embed_object": _embed_object,
    "finish": _finish,
}
