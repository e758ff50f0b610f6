"""Reads one record of Kinesis or of DynamoDB Streams, as Lambda or EventBridge Pipes sends it.

A record of Kinesis has a direct event as JSON in its data; one of DynamoDB Streams in the attribute ``event``
of the new item, as a map or as JSON.
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-event-source.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from lambda_app.api.events.attributes import plain
from lambda_app.api.events.records import get
from lambda_app.api.parsing import fields
from lambda_app.errors import FieldError, InvalidJSONError

KINESIS, DYNAMODB = "aws:kinesis", "aws:dynamodb"
# What the Kinesis Producer Library puts in front of several records that it sends as one.
AGGREGATED = b"\xf3\x89\x9a\xc2"
# The attribute of an item that holds its direct event.
ATTRIBUTE = "event"
DELETED = "REMOVE"


def are_of_one_stream(records: Any) -> bool:
    """Whether this is a list of records of one kind of stream."""
    if not isinstance(records, list) or not records:
        return False
    sources = {source if isinstance(source := get(record, "eventSource"), str) else "" for record in records}
    return sources in ({KINESIS}, {DYNAMODB})


def is_deleted(record: Mapping[str, Any]) -> bool:
    """Whether the record says that an item was deleted, which leaves nothing to embed."""
    return record.get("eventName") == DELETED


def kinesis_of(record: Mapping[str, Any]) -> Any:
    """Returns what Kinesis says of a record: Lambda puts it into an object, and Pipes beside the rest."""
    return record.get("kinesis", record)


def event_of(record: Mapping[str, Any]) -> Any:
    """Returns the direct event in a record.

    Raises:
        RequestError: there is none.
    """
    return _data(record) if record["eventSource"] == KINESIS else _new_image(record)


def _data(record: Mapping[str, Any]) -> Any:
    data = get(kinesis_of(record), "data")
    if not isinstance(data, str):
        raise FieldError("the record has no data", param="data", code="missing_field")
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidJSONError("the record's data is not base64") from None
    if decoded.startswith(AGGREGATED):
        raise InvalidJSONError(
            "the record holds several that the Kinesis Producer Library aggregated: turn its aggregation off"
        )
    return fields.parse_json(decoded)


def _new_image(record: Mapping[str, Any]) -> Any:
    image = get(get(record, "dynamodb"), "NewImage")
    if not isinstance(image, dict):
        raise FieldError(
            "the record has no new item: set the stream's StreamViewType to NEW_IMAGE or NEW_AND_OLD_IMAGES",
            param="NewImage",
            code="missing_field",
        )
    if ATTRIBUTE not in image:
        raise FieldError(
            f"the item has no attribute {ATTRIBUTE}, which holds a direct event as a map or as JSON: leave "
            "such items out by a filter of the event source mapping",
            param=ATTRIBUTE,
            code="missing_field",
        )
    value = plain(image[ATTRIBUTE], ATTRIBUTE)
    if isinstance(value, str):
        return fields.parse_json(value.encode("utf-8", errors="surrogatepass"))
    return value
