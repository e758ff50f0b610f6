"""Records of Kinesis and of DynamoDB Streams, each with a direct event in it.

A record of Kinesis has the event as JSON in its data; one of DynamoDB Streams in the attribute ``event`` of
the new item, as a map or as JSON. Items that were deleted have none, and are passed over.

Lambda reads the sequence numbers of the records that failed, and comes back with all from the lowest on. So
records after a failed one are served too: one that stays in the way until it is given up loses no other.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.attributes import plain
from lambda_app.api.events.records import get, word
from lambda_app.api.events.sinks import Message, Sink, serve_messages
from lambda_app.api.parsing import fields
from lambda_app.errors import FieldError, InvalidJSONError
from lambda_app.invocation import Invocation, Result

if TYPE_CHECKING:
    from lambda_app.service.service import Service

KINESIS, DYNAMODB = "aws:kinesis", "aws:dynamodb"
# What the Kinesis Producer Library puts in front of several records that it sends as one.
AGGREGATED = b"\xf3\x89\x9a\xc2"
# The attribute of an item that holds its direct event.
ATTRIBUTE = "event"
DELETED = "REMOVE"


def matches(event: Any) -> bool:
    """Whether an event is a batch of records of one kind of stream."""
    records = event.get("Records") if isinstance(event, dict) else None
    if not isinstance(records, list) or not records:
        return False
    sources = {source if isinstance(source := get(record, "eventSource"), str) else "" for record in records}
    return sources in ({KINESIS}, {DYNAMODB})


def answer(sink: Sink | None, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Serves each record on its own: Lambda comes back with those that failed.

    Raises:
        LimitError: there are more records than a stream sends.
    """
    messages = [
        _kinesis(record) if record["eventSource"] == KINESIS else _dynamodb(record)
        for record in event["Records"]
        if record.get("eventName") != DELETED
    ]
    return serve_messages(service, messages, sink, invocation)


def _kinesis(record: Mapping[str, Any]) -> Message:
    content = get(record, "kinesis")
    attributes = {"partition_key": word(content, "partitionKey")}
    return _message(record, word(content, "sequenceNumber"), attributes, partial(_data, content))


def _dynamodb(record: Mapping[str, Any]) -> Message:
    content = get(record, "dynamodb")
    keys = get(content, "Keys")
    return _message(
        record,
        word(content, "SequenceNumber"),
        {"keys": keys if isinstance(keys, dict) else {}, "event_name": word(record, "eventName")},
        partial(_new_image, content),
    )


def _message(record: Mapping[str, Any], number: str, attributes: dict[str, Any], read: Any) -> Message:
    # Sequence numbers are unique in a shard, the identifiers of events everywhere.
    return Message(number, word(record, "eventID") or number, attributes, read)


def _data(content: Any) -> Any:
    """Returns the event in the data of a record of Kinesis."""
    data = get(content, "data")
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


def _new_image(content: Any) -> Any:
    """Returns the event in the new item of a record of DynamoDB."""
    image = get(content, "NewImage")
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
