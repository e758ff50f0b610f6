"""Events whose response nobody reads raise: returned, an error counts as success, and the event is lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.errors import LimitError, UnservedEventError
from tests.support.fakes import Context, fake_dispatcher

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "discard"})
MESSAGE = {"eventSource": "aws:sqs", "messageId": "1", "body": '{"action": "ping"}'}
KAFKA = {"eventSource": "aws:kafka", "topic": "texts", "value": "eyJhY3Rpb24iOiAicGluZyJ9"}
KINESIS = {"eventSource": "aws:kinesis", "kinesis": {"data": "eyJhY3Rpb24iOiAicGluZyJ9"}}
EVENTS: dict[str, tuple[Any, str]] = {
    "s3": ({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "SECRET"}}}]}, "S3"),
    "sns": ({"Records": [{"EventSource": "aws:sns", "Sns": {"Message": '{"action": "ping"}'}}]}, "SNS"),
    "ses": ({"Records": [{"eventSource": "aws:ses", "ses": {}}]}, "SES"),
    "records of two streams": ({"Records": [KINESIS, {"eventSource": "aws:dynamodb"}]}, "Kinesis"),
    "codecommit": ({"Records": [{"eventSource": "aws:codecommit"}]}, "CodeCommit"),
    "a new service": ({"Records": [{"eventSource": "aws:SECRET"}]}, "another AWS service"),
    "no records": ({"Records": []}, "records"),
    "records of two sources": ({"Records": [MESSAGE, KINESIS]}, "SQS and others"),
    "kafka": ({"eventSource": "aws:kafka", "records": {"topic-0": []}}, "Kafka"),
    "own kafka": ({"eventSource": "SelfManagedKafka", "records": {}}, "Kafka"),
    "mq": ({"eventSource": "aws:rmq", "rmqMessagesByQueue": {}}, "Amazon MQ"),
    "docdb": ({"eventSource": "aws:docdb", "events": []}, "DocumentDB"),
    "firehose": ({"deliveryStreamArn": "arn", "records": [], "invocationId": "1"}, "Data Firehose"),
    "logs": ({"awslogs": {"data": "SECRET"}}, "CloudWatch Logs"),
    "alarm": ({"source": "aws.cloudwatch", "alarmArn": "arn", "alarmData": {}}, "CloudWatch alarms"),
    "own rule": ({"source": "SECRET", "detail-type": "Order", "detail": {"action": "ping"}}, "EventBridge"),
    "a service's rule": ({"source": "aws.s3", "detail-type": "Object Created", "detail": {}}, "EventBridge"),
    "codepipeline": ({"CodePipeline.job": {"id": "1"}}, "CodePipeline"),
    "config": ({"invokingEvent": "{}", "configRuleName": "rule"}, "AWS Config"),
    "cloudformation": ({"RequestType": "Create", "ResponseURL": "https://SECRET"}, "CloudFormation"),
    "destination": (
        {"version": "1.0", "requestContext": {"condition": "Success"}, "requestPayload": {}},
        "a Lambda destination",
    ),
    "piped kafka": ([KAFKA, KAFKA], "Kafka"),
    "piped with others": ([{"action": "ping"}, KINESIS], "Kinesis"),
}


@pytest.mark.parametrize("name", EVENTS)
def test_the_error_is_raised_and_names_the_source(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    event, source = EVENTS[name]
    with pytest.raises(UnservedEventError) as caught:
        DISPATCHER(event, Context())
    assert caught.value.code == "unserved_event"
    assert f"events of {source} are not served" in caught.value.message
    line = json.loads(capsys.readouterr().out)
    assert (line["event"], line["code"]) == ("fault", "unserved_event")
    assert "SECRET" not in json.dumps(line) + caught.value.message


@pytest.mark.parametrize("event", [{}, [], None, "text", {"records": []}, {"source": "mine"}, [{"a": 1}]])
def test_what_is_not_known_is_answered(event: Any) -> None:
    assert DISPATCHER(event, Context())["error"]["code"] == "unsupported_event"


def test_more_messages_than_sqs_sends_are_not_acknowledged() -> None:
    with pytest.raises(LimitError):
        DISPATCHER({"Records": [MESSAGE] * 10_001}, Context())
