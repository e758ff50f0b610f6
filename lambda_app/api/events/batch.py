"""Many requests in one invocation: Step Functions' Distributed Map, and lists of events as EventBridge Pipes
sends them.

One item that cannot be served does not spoil the others: it is named among the answers with its error.
Answers depend on the items alone, so that an invocation may be repeated.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.direct import DirectDoor, error_object
from lambda_app.api.parsing import fields
from lambda_app.errors import (
    DeadlineError,
    FieldError,
    InvalidJSONError,
    LambdaAppError,
    LimitError,
    RequestError,
)
from lambda_app.service.validation import check_text

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.limits import Limits
    from lambda_app.service.service import Service

# Characters of the caller's own name for an item.
ID_CHARACTERS = 256
SQS = "aws:sqs"


def is_items(event: Any) -> bool:
    """Whether Step Functions' ItemBatcher made this event."""
    return isinstance(event, dict) and "Items" in event and "action" not in event


def is_list(event: Any) -> bool:
    """Whether this is a list of direct events, or of messages of a queue that hold them."""
    return (
        isinstance(event, list)
        and bool(event)
        and all(is_message(item) or _is_direct(item) for item in event)
    )


def is_message(record: Any) -> bool:
    """Whether this is one message of an SQS queue."""
    return isinstance(record, dict) and record.get("eventSource") == SQS


def message_event(record: Mapping[str, Any]) -> Any:
    """What the body of a message holds.

    Raises:
        InvalidJSONError: no JSON.
    """
    body = record.get("body")
    if not isinstance(body, str):
        raise InvalidJSONError("the body is not a string of JSON")
    # Lone surrogates become bytes that are no UTF-8, which is refused like any other.
    return fields.parse_json(body.encode("utf-8", errors="surrogatepass"))


def message_id(record: Mapping[str, Any]) -> str:
    """The identifier of a message, in characters that may leave."""
    value = record.get("messageId")
    return value.encode("utf-8", errors="replace").decode("utf-8") if isinstance(value, str) else ""


def answer_list(direct: DirectDoor, events: Sequence[Any], invocation: Invocation) -> list[dict[str, Any]]:
    """One answer for each event of :func:`is_list`, in their order."""
    answers = []
    for event in events:
        if is_message(event):
            answers.append({"messageId": message_id(event)} | answer_message(direct, event, invocation))
        else:
            answers.append(answer_one(direct, event, invocation))
    return answers


def answer_message(direct: DirectDoor, record: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """The answer to the event in a message, or its error."""
    try:
        event = message_event(record)
    except RequestError as error:
        return error_object(error)
    return answer_one(direct, event, invocation)


def answer_one(direct: DirectDoor, event: Any, invocation: Invocation) -> dict[str, Any]:
    """The answer to a direct event, or its error; with the caller's own ``id``, where there is one."""
    named: dict[str, Any] = {}
    try:
        if not _is_direct(event):
            raise FieldError(
                "action is missing: each item must be an event with an action", code="missing_field"
            )
        if event.get("id") is not None:
            named = {"id": _checked_id(event["id"])}
        return named | direct({name: value for name, value in event.items() if name != "id"}, invocation)
    except (RequestError, DeadlineError) as error:
        return named | error_object(error)


def answer_items(
    direct: DirectDoor, service: Service, event: Mapping[str, Any], invocation: Invocation
) -> dict[str, Any]:
    """The answer to ``{"BatchInput": {...}, "Items": [...]}``.

    ``BatchInput`` has the fields that all items share. With ``"action": "embed"`` items are texts, with
    ``"action": "rerank"`` and a ``query`` they are documents, and the answer is as to one request, with
    ``errors`` in it. Otherwise each item is an event of its own, and so are the ``answers``.

    Raises:
        RequestError: it cannot be served as it is, or none of its texts can. DeadlineError: time ran out.
    """
    fields.reject_unknown(event, ("BatchInput", "Items"))
    shared = {} if event.get("BatchInput") is None else fields.json_object(event["BatchInput"], "BatchInput")
    items = event["Items"]
    if not isinstance(items, list) or not items:
        raise FieldError("Items must be a list with at least one item", param="Items")
    limits = service.limits
    if shared.get("action") == "embed" and "texts" not in shared:
        _check_count(items, limits.embed_texts)
        texts = _Texts(service.limits, items)
        answer = direct({**shared, "texts": texts.good}, invocation)
        answer["embeddings"] = texts.spread(answer["embeddings"])
        return answer | {"truncated": texts.places(answer["truncated"]), "errors": texts.errors}
    if shared.get("action") == "rerank" and "query" in shared and "documents" not in shared:
        _check_count(items, limits.rerank_documents)
        texts = _Texts(service.limits, items)
        answer = direct({**shared, "documents": texts.good}, invocation)
        for result in answer["results"]:
            result["index"] = texts.indices[result["index"]]
        return answer | {"truncated": texts.places(answer["truncated"]), "errors": texts.errors}
    _check_count(items, limits.embed_texts)
    merged = [{**shared, **item} if isinstance(item, dict) else item for item in items]
    return {"answers": [answer_one(direct, item, invocation) for item in merged]}


class _Texts:
    """The texts among items, and the errors of the rest."""

    def __init__(self, limits: Limits, items: Sequence[Any]) -> None:
        self.good: list[str] = []
        self.indices: list[int] = []
        self.errors: list[dict[str, Any]] = []
        self._total = len(items)
        first: LambdaAppError | None = None
        for index, item in enumerate(items):
            where = f"Items[{index}]"
            try:
                text = fields.item_text(item, where)
                check_text(text, where, limits)
            except RequestError as error:
                first = first or error
                self.errors.append({"index": index, **error_object(error)["error"]})
            else:
                self.good.append(text)
                self.indices.append(index)
        if first is not None and not self.good:
            raise first

    def spread(self, rows: Sequence[Any]) -> list[Any]:
        """Rows of the good texts at the places of their items, None in between."""
        spread: list[Any] = [None] * self._total
        for index, row in zip(self.indices, rows, strict=True):
            spread[index] = row
        return spread

    def places(self, indices: Sequence[int]) -> list[int]:
        """Places among the good texts as places among the items."""
        return [self.indices[index] for index in indices]


def _is_direct(event: Any) -> bool:
    return isinstance(event, dict) and "action" in event


def _check_count(items: Sequence[Any], most: int) -> None:
    if len(items) > most:
        raise LimitError(f"Items holds {len(items)} items, at most {most} fit one invocation", param="Items")


def _checked_id(value: Any) -> str | int:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    if not isinstance(value, str) or len(value) > ID_CHARACTERS or not fields.encodable(value):
        raise FieldError(
            f"id must be a whole number or a string of at most {ID_CHARACTERS} characters", param="id"
        )
    return value
