"""Reads one message of an SQS queue, with a direct event in its body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambda_app.api.parsing import fields
from lambda_app.errors import InvalidJSONError

SQS = "aws:sqs"


def is_message(record: Any) -> bool:
    """Whether this is one message of an SQS queue."""
    return isinstance(record, dict) and record.get("eventSource") == SQS


def message_event(record: Mapping[str, Any]) -> Any:
    """Returns the event in the body of a message, or in the SNS notification that the body is.

    Raises:
        InvalidJSONError: the body, or the notification's message, is not JSON.
    """
    event = _parsed(record.get("body"))
    if isinstance(event, dict) and event.get("Type") == "Notification" and "TopicArn" in event:
        # A subscription without raw message delivery wraps what was published.
        return _parsed(event.get("Message"))
    return event


def _parsed(text: Any) -> Any:
    if not isinstance(text, str):
        raise InvalidJSONError("the body is not a string of JSON")
    # Lone surrogates become bytes that are not UTF-8, which is refused as in any other body.
    return fields.parse_json(text.encode("utf-8", errors="surrogatepass"))


def message_id(record: Mapping[str, Any]) -> str:
    """Returns the identifier of a message, without lone surrogates."""
    value = record.get("messageId")
    return value.encode("utf-8", errors="replace").decode("utf-8") if isinstance(value, str) else ""
