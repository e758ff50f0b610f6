"""Records of Kinesis and of DynamoDB Streams, each with a direct event in it.

A record of Kinesis has the event as JSON in its data; one of DynamoDB Streams in the attribute ``event`` of
the new item, as a map or as JSON. Items that were deleted have none, and are passed over.

Lambda reads the sequence numbers of the records that failed, and comes back with all from the lowest on. So
records after a failed one are served too: one that stays in the way until it is given up loses no other.
https://docs.aws.amazon.com/lambda/latest/dg/services-kinesis-batchfailurereporting.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.records import get, word
from lambda_app.api.events.sinks import Message, Sink, serve_messages
from lambda_app.api.events.streams_record import KINESIS, are_of_one_stream, event_of, is_deleted, kinesis_of
from lambda_app.invocation import Invocation, Result

if TYPE_CHECKING:
    from lambda_app.service.service import Service


def matches(event: Any) -> bool:
    """Whether an event is a batch of records of one kind of stream."""
    return isinstance(event, dict) and are_of_one_stream(event.get("Records"))


def answer(sink: Sink | None, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Serves each record on its own: Lambda comes back with those that failed.

    Raises:
        LimitError: there are more records than a stream sends.
    """
    return serve_messages(service, messages(event["Records"]), sink, invocation)


def messages(records: Sequence[Mapping[str, Any]], *, piped: bool = False) -> list[Message]:
    """Returns the records of one stream, but for deleted items.

    Lambda knows them by their sequence numbers, and EventBridge Pipes, which ``piped`` ones are of, by their
    ``eventID``.
    """
    return [_message(record, piped=piped) for record in records if not is_deleted(record)]


def _message(record: Mapping[str, Any], *, piped: bool) -> Message:
    if record["eventSource"] == KINESIS:
        content = kinesis_of(record)
        number = word(content, "sequenceNumber")
        attributes: dict[str, Any] = {"partition_key": word(content, "partitionKey")}
    else:
        content = get(record, "dynamodb")
        number, keys = word(content, "SequenceNumber"), get(content, "Keys")
        attributes = {
            "keys": keys if isinstance(keys, dict) else {},
            "event_name": word(record, "eventName"),
        }
    # Sequence numbers are unique in a shard, the identifiers of events everywhere.
    identifier = word(record, "eventID")
    return Message(
        identifier if piped else number, identifier or number, attributes, partial(event_of, record)
    )
