"""SQS messages, each with a direct event in its body.

https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.sinks import Message, Sink, serve_messages
from lambda_app.api.events.sqs_message import is_message, message_event, message_id
from lambda_app.invocation import Invocation, Result

if TYPE_CHECKING:
    from lambda_app.service.service import Service


def matches(event: Any) -> bool:
    """Whether an event is a batch of SQS messages."""
    records = event.get("Records") if isinstance(event, dict) else None
    return isinstance(records, list) and bool(records) and all(map(is_message, records))


def answer(sink: Sink | None, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Serves each message on its own: those that fail come back, the others are done.

    Raises:
        LimitError: there are more messages than SQS sends.
    """
    return serve_messages(service, messages(event["Records"]), sink, invocation)


def messages(records: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Returns the messages that are records of an event."""
    return [_message(record) for record in records]


def _message(record: Mapping[str, Any]) -> Message:
    identifier = message_id(record)
    return Message(
        identifier,
        identifier,
        record.get("messageAttributes") or {},
        partial(message_event, record),
        ordered=str(record.get("eventSourceARN")).endswith(".fifo"),
    )
