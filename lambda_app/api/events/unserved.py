"""Events of sources that are known and not served.

Nobody reads a response to most of them, and one that is returned counts as success, so that the event would
be lost. So the error is raised: Lambda counts it, retries the event, and sends it on where the function
has a destination for failures.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

from lambda_app.errors import UnservedEventError
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service

# The eventSource of a record, and what to call it.
RECORDS: Mapping[str, str] = {
    "aws:s3": "S3",
    "aws:sns": "SNS",
    "aws:kinesis": "Kinesis",
    "aws:dynamodb": "DynamoDB",
    "aws:ses": "SES",
    "aws:kafka": "Kafka",
    "SelfManagedKafka": "Kafka",
    "aws:mq": "Amazon MQ",
    "aws:rmq": "Amazon MQ",
    "aws:docdb": "DocumentDB",
    "aws:codecommit": "CodeCommit",
    "aws:sqs": "SQS and others",
}
# Fields that only events of one source have together, and what to call it.
FIELDS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"detail-type", "source"}), "EventBridge"),
    (frozenset({"detail-type", "detail"}), "EventBridge"),
    (frozenset({"awslogs"}), "CloudWatch Logs"),
    (frozenset({"alarmArn", "alarmData"}), "CloudWatch alarms"),
    (frozenset({"deliveryStreamArn", "records"}), "Data Firehose"),
    (frozenset({"CodePipeline.job"}), "CodePipeline"),
    (frozenset({"invokingEvent"}), "AWS Config"),
    (frozenset({"RequestType", "ResponseURL"}), "CloudFormation"),
    (frozenset({"requestPayload", "requestContext"}), "a Lambda destination"),
    (frozenset({"TopicArn", "Message"}), "SNS"),
)


def matches(event: Any) -> bool:
    """Whether an event, or an event of a list, comes from a known source that is not served."""
    return _source(event) is not None


def answer(service: Service, event: Any, invocation: Invocation) -> NoReturn:
    """Raises the error of the event's source.

    Raises:
        UnservedEventError: always.
    """
    raise UnservedEventError(
        f"events of {_source(event)} are not served, and nobody would read a response: send a direct event, "
        "or SQS messages with direct events in their bodies (docs/reference/events.md)"
    )


def _source(event: Any) -> str | None:
    """Returns the name of an event's source, in our words; None where it is not known."""
    if isinstance(event, list):
        return next((name for name in map(_record_source, event) if name is not None), None)
    if not isinstance(event, dict):
        return None
    for fields, name in FIELDS:
        if fields <= event.keys():
            return name
    records = event.get("Records")
    if isinstance(records, list):
        return next((name for name in map(_record_source, records) if name is not None), "records")
    return _record_source(event)


def _record_source(record: Any) -> str | None:
    if not isinstance(record, dict):
        return None
    # SNS and SES spell it with a capital letter.
    named = record.get("eventSource", record.get("EventSource"))
    if not isinstance(named, str):
        return None
    return RECORDS.get(named, "another AWS service" if named.startswith("aws:") else None)
