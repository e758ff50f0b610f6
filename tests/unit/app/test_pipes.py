"""EventBridge Pipes: a list of records, as a target that reports failures or an enrichment that answers."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.errors import LimitError
from lambda_app.limits import Limits
from scripts.paths import ROOT
from tests.support.fakes import Context, fake_dispatcher
from tests.support.json_values import JSON_VALUES

GOOD = {"action": "embed", "texts": ["a", "bb"], "id": "doc-1"}
ENVIRON = {"LOG_LEVEL": "ERROR", "RESULT_SINK": "a_users_module:store"}
SAMPLES = ("pipes-sqs", "pipes-kinesis", "pipes-dynamodb-stream")


def sqs(number: str, event: Any, **changes: Any) -> dict[str, Any]:
    body = event if isinstance(event, str) else json.dumps(event)
    return {"messageId": number, "body": body, "eventSource": "aws:sqs", **changes}


def kinesis(number: str, event: Any, **changes: Any) -> dict[str, Any]:
    """A record as the documentation of Pipes has it: what Kinesis says stands beside the rest."""
    data = event if isinstance(event, str) else json.dumps(event)
    return {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "doc-1",
        "sequenceNumber": f"sequence-{number}",
        "data": base64.b64encode(data.encode()).decode("ascii"),
        "approximateArrivalTimestamp": 1545084650.987,
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": number,
        "eventName": "aws:kinesis:record",
        **changes,
    }


def dynamodb(number: str, event: Any, **changes: Any) -> dict[str, Any]:
    image = {"event": {"S": event if isinstance(event, str) else json.dumps(event)}}
    return {
        "eventID": number,
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {"Keys": {"id": {"S": "1"}}, "NewImage": image, "SequenceNumber": f"sequence-{number}"},
        **changes,
    }


@pytest.mark.parametrize("make", [sqs, kinesis, dynamodb])
def test_a_target_reports_the_records_that_failed_by_their_own_ids(stored: list[Any], make: Any) -> None:
    records = [make("1", GOOD), make("2", "{"), make("3", GOOD), make("4", {"action": "explode"})]
    answer = fake_dispatcher(ENVIRON)(records, Context())
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "4"}]}
    assert [(result["message_id"], result["event"]) for result in stored] == [("1", GOOD), ("3", GOOD)]


def test_messages_of_a_fifo_queue_after_a_failed_one_come_back(stored: list[Any]) -> None:
    records = [sqs(number, body, eventSourceARN="q.fifo") for number, body in (("1", "{"), ("2", GOOD))]
    failures = fake_dispatcher(ENVIRON)(records, Context())["batchItemFailures"]
    assert [failure["itemIdentifier"] for failure in failures] == ["1", "2"]
    assert stored == []


@pytest.mark.parametrize(("make", "name"), [(sqs, "messageId"), (kinesis, "eventID"), (dynamodb, "eventID")])
def test_an_enrichment_answers_each_record_under_its_own_id(make: Any, name: str) -> None:
    dispatcher = fake_dispatcher()
    good, bad, other = dispatcher([make("1", GOOD), make("2", "{"), make("3", {"action": "ping"})], Context())
    direct = dispatcher({"action": "embed", "texts": ["a", "bb"]}, Context())
    assert good == {name: "1", "id": "doc-1", **direct}
    assert (bad[name], bad["error"]["code"]) == ("2", "invalid_json")
    assert other == {name: "3", "ok": True}


def test_deleted_items_are_passed_over(stored: list[Any]) -> None:
    deleted = dynamodb("1", GOOD, eventName="REMOVE")
    records = [deleted, dynamodb("2", GOOD)]
    assert [answer["eventID"] for answer in fake_dispatcher()(records, Context())] == ["2"]
    assert fake_dispatcher()([deleted], Context()) == []
    assert fake_dispatcher(ENVIRON)(records, Context()) == {"batchItemFailures": []}
    assert len(stored) == 1


def test_more_records_than_a_pipe_sends_are_not_acknowledged(stored: list[Any]) -> None:
    """Nobody reads an error that a target returns: the pipe would count the records as done."""
    with pytest.raises(LimitError):
        fake_dispatcher(ENVIRON, limits=Limits(events=2))([kinesis("1", GOOD)] * 3, Context())


def test_the_log_line_names_the_pipe(stored: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    fake_dispatcher(ENVIRON | {"LOG_LEVEL": "INFO"})([kinesis("1", GOOD)], Context())
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["source"], line["outcome"]) == ("pipe", "ok")


@pytest.mark.parametrize("name", SAMPLES)
def test_the_sample_events_are_served(stored: list[Any], name: str) -> None:
    event = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    answers = fake_dispatcher()(event, Context())
    good = [answer for answer in answers if "error" not in answer]
    # One message of SQS is wrong on purpose, and one item of DynamoDB is deleted.
    assert len(good) == len(event) - (name != "pipes-kinesis")
    fake_dispatcher(ENVIRON)(event, Context())
    assert len(stored) == len(good)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["data", "partitionKey", "eventID", "kinesis", "eventName"]), JSON_VALUES
        ),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=60, deadline=None)
def test_any_records_get_an_answer_that_pipes_read(records: list[dict[str, Any]]) -> None:
    event = [{**record, "eventSource": "aws:kinesis"} for record in records]
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "discard"})
    failures = dispatcher(event, Context())["batchItemFailures"]
    assert all(isinstance(failure["itemIdentifier"], str) for failure in failures)
    answers = fake_dispatcher()(event, Context())
    json.dumps([failures, answers], ensure_ascii=False).encode("utf-8")
    assert len(answers) == len(event)
