"""Many requests in one event: Step Functions' Distributed Map, and lists of events from EventBridge Pipes.

An item that cannot be served does not spoil the others: the response holds its error beside their results.
Responses depend on the items alone, so that an invocation may be repeated.
https://docs.aws.amazon.com/step-functions/latest/dg/input-output-itembatcher.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lambda_app.api.events import direct
from lambda_app.api.events.collect import Responses
from lambda_app.api.events.records import checked_id, word
from lambda_app.api.events.sqs_message import is_message, message_event, message_id
from lambda_app.api.events.streams_record import (
    DYNAMODB,
    KINESIS,
    are_of_one_stream,
    event_of,
    is_deleted,
)
from lambda_app.api.parsing import fields
from lambda_app.api.response_size import check_size
from lambda_app.errors import (
    DeadlineError,
    FieldError,
    LambdaAppError,
    LimitError,
    RequestError,
    ResponseTooLargeError,
    TextError,
)
from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service
from lambda_app.service.validation import Check, check_characters, check_text, no_tokens

# More than any event has, as the fields of BatchInput are copied for each item.
SHARED_FIELDS = 32


def matches(event: Any) -> bool:
    """Whether an event comes from ItemBatcher, or is a list of direct events (or of records with them)."""
    if isinstance(event, list):
        return bool(event) and (
            all(is_message(item) or direct.matches(item) for item in event) or are_of_one_stream(event)
        )
    return isinstance(event, dict) and "Items" in event and "action" not in event


def answer(service: Service, event: Any, invocation: Invocation) -> Result:
    """Answers all items of an event.

    Raises:
        RequestError: the event cannot be served as it is, or none of its texts can.
        DeadlineError: time ran out.
    """
    if isinstance(event, list):
        return Result(answer_list(service, event, invocation))
    fields.reject_unknown(event, ("BatchInput", "Items"))
    shared = {} if event.get("BatchInput") is None else fields.json_object(event["BatchInput"], "BatchInput")
    items = event["Items"]
    if not isinstance(items, list) or not items:
        raise FieldError("Items must be a list with at least one item", param="Items")
    invocation = invocation.with_response_limit(fields.optional_integer(shared, "max_response_bytes"))
    return Result(answer_items(service, shared, items, invocation))


def answer_list(service: Service, events: Sequence[Any], invocation: Invocation) -> list[dict[str, Any]]:
    """Returns one response for each event of a list, in their order.

    Raises:
        LimitError: there are too many events, or their responses do not fit together.
    """
    if len(events) > service.limits.events:
        raise LimitError(
            f"the list holds {len(events)} events, at most {service.limits.events} fit one invocation"
        )
    if are_of_one_stream(events):
        events = [event for event in events if not is_deleted(event)]
    return _answer_each(service, events, invocation, envelope=len("[]"), total=len(events))


def answer_one(
    service: Service, event: Any, invocation: Invocation, free_bytes: int | None = None
) -> dict[str, Any]:
    """Returns the response to one direct event among others, or its error, with the event's ``id`` if any.

    Raises:
        ResponseTooLargeError: the response would fit by itself, and not ``free_bytes``.
    """
    named: dict[str, Any] = {}
    try:
        if not direct.matches(event):
            raise FieldError(
                "action is missing: each item must be an event with an action", code="missing_field"
            )
        if event.get("id") is not None:
            named = {"id": checked_id(event["id"])}
        request = {name: value for name, value in event.items() if name != "id"}
        invocation = direct.limited(request, invocation)
        limited = invocation.with_response_limit(free_bytes)
        response = named | direct.run(service, request, limited)
        rows = response.get("embeddings") or response.get("results") or ()
        check_size(response, limited.response_bytes, len(rows))
    except (RequestError, DeadlineError) as error:
        if isinstance(error, ResponseTooLargeError) and error.size <= invocation.response_bytes:
            raise
        return named | direct.error_object(error)
    else:
        return response


def answer_items(
    service: Service, shared: Mapping[str, Any], items: Sequence[Any], invocation: Invocation
) -> dict[str, Any]:
    """Returns the response to ``{"BatchInput": shared, "Items": items}``.

    ``shared`` has the fields that all items have in common. With ``"action": "embed"`` items are texts, with
    ``"action": "rerank"`` and a ``query`` they are documents, and the response is that to one request, with
    ``errors`` in it. Otherwise each item is an event of its own, and so are the ``answers``.

    Raises:
        RequestError: the event cannot be served as it is, or none of its texts can.
        DeadlineError: time ran out.
    """
    limits = service.limits
    if direct.action_of(shared) == "embed" and "texts" not in shared:
        _check_count(items, limits.embed_texts)
        texts = _Texts(service, items, check_text)
        try:
            response = direct.run(service, {**shared, "texts": texts.good}, invocation)
        except TextError as error:
            texts.leave_out(error)
            response = direct.run(service, {**shared, "texts": texts.good}, invocation)
        response["embeddings"] = texts.spread(response["embeddings"])
        return _checked(response, texts, len(items), invocation)
    if direct.action_of(shared) == "rerank" and "query" in shared and "documents" not in shared:
        _check_count(items, limits.rerank_documents)
        # A document with nothing in it is ranked, as in any other request.
        texts = _Texts(service, items, check_characters)
        response = direct.run(service, {**shared, "documents": texts.good}, invocation)
        for result in response["results"]:
            result["index"] = texts.indices[result["index"]]
        return _checked(response, texts, len(items), invocation)
    _check_count(items, limits.embed_texts)
    if len(shared) > SHARED_FIELDS:
        raise LimitError(f"BatchInput has {len(shared)} fields, which no event has", param="BatchInput")
    # One at a time: each holds all that is shared.
    merged = ({**shared, **item} if isinstance(item, dict) else item for item in items)
    envelope = len('{"answers": []}')
    return {"answers": _answer_each(service, merged, invocation, envelope=envelope, total=len(items))}


def _answer_each(
    service: Service, events: Iterable[Any], invocation: Invocation, *, envelope: int, total: int
) -> list[dict[str, Any]]:
    responses = Responses(invocation, total, envelope)
    for event in events:
        response = responses.late()
        while response is None:
            try:
                response = _answer_any(service, event, responses.invocation, responses.free_bytes)
            except ResponseTooLargeError:
                if not responses.measure():
                    raise responses.full() from None
        responses.add(response)
    return responses.all


def _answer_any(service: Service, event: Any, invocation: Invocation, free_bytes: int) -> dict[str, Any]:
    """Returns the response to a direct event, or to a record that holds one."""
    if is_message(event):
        named, read = {"messageId": message_id(event)}, message_event
    elif isinstance(event, dict) and event.get("eventSource") in (KINESIS, DYNAMODB):
        named, read = {"eventID": word(event, "eventID")}, event_of
    else:
        return answer_one(service, event, invocation, free_bytes)
    try:
        event = read(event)
    except RequestError as error:
        return named | direct.error_object(error)
    return named | answer_one(service, event, invocation, free_bytes)


def _checked(response: dict[str, Any], texts: _Texts, items: int, invocation: Invocation) -> dict[str, Any]:
    """Returns the response to one request over all items, with the places and errors of single ones."""
    response |= {"truncated": texts.places(response["truncated"]), "errors": texts.errors}
    check_size(response, invocation.response_bytes, items)
    return response


class _Texts:
    """The texts among items, and the errors of the rest."""

    def __init__(self, service: Service, items: Sequence[Any], check: Check) -> None:
        self.good: list[str] = []
        self.indices: list[int] = []
        self.errors: list[dict[str, Any]] = []
        self._total = len(items)
        first: LambdaAppError | None = None
        for index, item in enumerate(items):
            where = f"Items[{index}]"
            try:
                [text] = service.readable([fields.item_text(item, where)])
                check(text, where, service.limits)
            except RequestError as error:
                first = first or error
                self.errors.append({"index": index, **direct.error_object(error)["error"]})
            else:
                self.good.append(text)
                self.indices.append(index)
        if first is not None and not self.good:
            raise first

    def leave_out(self, error: TextError) -> None:
        """Moves texts without tokens to the errors; raises where there are no others, or none of these."""
        if not error.indices:
            raise error
        pairs = list(zip(self.indices, self.good, strict=True))
        empty = {place: no_tokens(f"Items[{pairs[place][0]}]") for place in sorted(error.indices)}
        if len(empty) == len(pairs):
            raise empty[0]
        self.errors += [
            {"index": pairs[place][0], **direct.error_object(one)["error"]} for place, one in empty.items()
        ]
        self.errors.sort(key=lambda one: one["index"])
        pairs = [pair for place, pair in enumerate(pairs) if place not in empty]
        self.indices, self.good = [index for index, _ in pairs], [text for _, text in pairs]

    def spread(self, rows: Sequence[Any]) -> list[Any]:
        """Returns rows of the good texts at the places of their items, None in between."""
        spread: list[Any] = [None] * self._total
        for index, row in zip(self.indices, rows, strict=True):
            spread[index] = row
        return spread

    def places(self, indices: Sequence[int]) -> list[int]:
        """Returns places among the good texts as places among the items."""
        return [self.indices[index] for index in indices]


def _check_count(items: Sequence[Any], max_items: int) -> None:
    if len(items) > max_items:
        raise LimitError(
            f"Items holds {len(items)} items, at most {max_items} fit one invocation", param="Items"
        )
