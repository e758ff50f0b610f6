"""Kinesis and DynamoDB Streams: a bad record fails alone, by its sequence number, and nothing is lost."""

from __future__ import annotations

import base64
import json
import sys
from types import ModuleType
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


def kinesis(number: str, data: bytes | str, **changes: Any) -> dict[str, Any]:
    """A record as Lambda's documentation has it."""
    encoded = base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data
    return {
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "doc-1",
            "sequenceNumber": number,
            "data": encoded,
            "approximateArrivalTimestamp": 1545084650.987,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": f"shardId-000000000006:{number}",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn:aws:iam::123456789012:role/lambda-role",
        "awsRegion": "us-east-2",
        "eventSourceARN": "arn:aws:kinesis:us-east-2:123456789012:stream/texts",
        **changes,
    }


def good_kinesis(number: str) -> dict[str, Any]:
    return kinesis(number, json.dumps(GOOD).encode())


def dynamodb(number: str, image: Any, name: str = "INSERT", **changes: Any) -> dict[str, Any]:
    return {
        "eventID": f"event-{number}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "dynamodb": {
            "ApproximateCreationDateTime": 1428537600,
            "Keys": {"id": {"S": number}},
            **({} if image is None else {"NewImage": image}),
            "SequenceNumber": number,
            "SizeBytes": 26,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": "arn:aws:dynamodb:us-east-1:123456789012:table/texts/stream/2026",
        **changes,
    }


AS_MAP = {
    "id": {"S": "1"},
    "event": {
        "M": {
            "action": {"S": "embed"},
            "texts": {"L": [{"S": "a"}, {"S": "bb"}]},
            "id": {"S": "doc-1"},
        }
    },
}
AS_JSON = {"id": {"S": "1"}, "event": {"S": json.dumps(GOOD)}}


def call(*records: Any, dispatcher: Any = None, seconds: float = 30.0) -> list[str]:
    dispatcher = dispatcher or fake_dispatcher(ENVIRON)
    answer = dispatcher({"Records": list(records)}, Context(seconds=seconds))
    assert answer.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


POISON = [
    b"{",
    b"\xff",
    b"",
    b"7",
    b'{"action": "explode"}',
    b'{"action": "embed", "texts": [""]}',
    b"\xf3\x89\x9a\xc2\n\x05doc-1",
    "not base64!",
    "é",
]


@pytest.mark.parametrize("poison", POISON, ids=repr)
def test_a_bad_record_of_kinesis_fails_alone(stored: list[Any], poison: Any) -> None:
    assert call(good_kinesis("1"), kinesis("2", poison), good_kinesis("3")) == ["2"]
    assert [result["message_id"] for result in stored] == ["shardId-000000000006:1", "shardId-000000000006:3"]


def test_the_sink_gets_the_event_the_answer_and_the_partition_key(stored: list[Any]) -> None:
    dispatcher = fake_dispatcher(ENVIRON)
    assert call(good_kinesis("1"), dispatcher=dispatcher) == []
    direct = dispatcher({"action": "embed", "texts": ["a", "bb"]}, Context())
    assert stored == [
        {
            "message_id": "shardId-000000000006:1",
            "attributes": {"partition_key": "doc-1"},
            "event": GOOD,
            "answer": {"id": "doc-1", **direct},
        }
    ]


@pytest.mark.parametrize("image", [AS_MAP, AS_JSON], ids=["a map", "JSON"])
@pytest.mark.parametrize("name", ["INSERT", "MODIFY"])
def test_an_items_event_is_served(stored: list[Any], image: Any, name: str) -> None:
    assert call(dynamodb("7", image, name)) == []
    assert stored[0]["event"] == GOOD
    assert stored[0]["message_id"] == "event-7"
    assert stored[0]["attributes"] == {"keys": {"id": {"S": "7"}}, "event_name": name}


def test_numbers_and_flags_of_an_item_are_read(stored: list[Any]) -> None:
    event = {
        "M": {
            "action": {"S": "rerank"},
            "query": {"S": "abc"},
            "documents": {"SS": ["abc", "x"]},
            "top_n": {"N": "1"},
            "raw_scores": {"BOOL": True},
            "model": {"NULL": True},
        }
    }
    assert call(dynamodb("1", {"event": event})) == []
    assert stored[0]["answer"]["results"] == [{"index": 0, "score": 2.0}]


@pytest.mark.parametrize(
    "image",
    [
        None,
        {},
        {"text": {"S": "SECRET"}},
        {"event": "SECRET"},
        {"event": {"S": "{"}},
        {"event": {"S": "\ud800"}},
        {"event": {"B": "U0VDUkVU"}},
        {"event": {"N": "1e999"}},
        {"event": {"N": "nan"}},
        {"event": {"N": "9" * 5_000}},
        {"event": {"S": 1}},
        {"event": {"M": {"action": {"S": "embed", "N": "1"}}}},
        {"event": {"M": {"action": {"S": "embed"}, "texts": {"L": ["SECRET"]}}}},
    ],
    ids=repr,
)
def test_an_item_without_an_event_fails_alone(
    stored: list[Any], image: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dispatcher = fake_dispatcher(ENVIRON | {"LOG_LEVEL": "WARNING"})
    records = [dynamodb("1", AS_MAP), dynamodb("2", image), dynamodb("3", AS_JSON)]
    assert call(*records, dispatcher=dispatcher) == ["2"]
    assert len(stored) == 2
    output = capsys.readouterr().out
    assert (json.loads(output)["event"], json.loads(output)["message_id"]) == ("message_failed", "event-2")
    assert "SECRET" not in output


def test_deleted_items_are_passed_over(stored: list[Any]) -> None:
    assert call(dynamodb("1", None, "REMOVE"), dynamodb("2", AS_MAP)) == []
    assert [result["message_id"] for result in stored] == ["event-2"]
    assert call(dynamodb("1", None, "REMOVE")) == []


def test_a_sink_that_fails_makes_the_records_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("a_users_module")
    module.store = {}.__getitem__  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    assert sorted(call(good_kinesis("1"), good_kinesis("2"))) == ["1", "2"]


def test_without_a_sink_all_records_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher()
    assert call(good_kinesis("1"), good_kinesis("2"), dispatcher=dispatcher) == ["1", "2"]
    missing, line = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert missing["event"] == "result_sink_missing"
    assert (line["source"], line["outcome"], line["items"]) == ("stream", "2 of 2 failed", 0)


def test_records_whose_time_ran_out_come_back(stored: list[Any]) -> None:
    assert call(good_kinesis("1"), good_kinesis("2"), seconds=0.1) == ["1", "2"]
    assert stored == []


def test_a_record_without_a_number_fails_its_whole_batch(stored: list[Any]) -> None:
    """Lambda takes an empty identifier for a batch that failed."""
    record = kinesis("1", b"{")
    del record["kinesis"]["sequenceNumber"]
    assert call(good_kinesis("0"), record) == [""]
    assert call({"eventSource": "aws:kinesis"}) == [""]


def test_more_records_than_a_stream_sends_are_not_acknowledged() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "discard"}, limits=Limits(events=2))
    with pytest.raises(LimitError):
        dispatcher({"Records": [good_kinesis(str(number)) for number in range(3)]}, Context())


@pytest.mark.parametrize("name", ["kinesis", "dynamodb-stream"])
def test_the_sample_events_are_served(stored: list[Any], name: str) -> None:
    event = json.loads((ROOT / "events" / f"{name}.json").read_text(encoding="utf-8"))
    assert call(*event["Records"]) == []
    assert stored


@given(
    st.lists(
        st.fixed_dictionaries(
            {"eventSource": st.just("aws:dynamodb")},
            optional={
                "dynamodb": JSON_VALUES
                | st.fixed_dictionaries({"SequenceNumber": JSON_VALUES, "NewImage": JSON_VALUES})
                | JSON_VALUES.map(lambda value: {"NewImage": {"event": value}}),
                "eventID": JSON_VALUES,
                "eventName": JSON_VALUES,
            },
        )
        | st.fixed_dictionaries({"eventSource": st.just("aws:kinesis")}, optional={"kinesis": JSON_VALUES}),
        min_size=1,
        max_size=4,
    ).filter(lambda records: len({record["eventSource"] for record in records}) == 1)
)
@settings(max_examples=300, deadline=None)
def test_any_records_get_an_answer_that_lambda_reads(records: list[dict[str, Any]]) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "discard"})
    failed = call(*records, dispatcher=dispatcher)
    assert all(isinstance(identifier, str) for identifier in failed)
    json.dumps(failed, ensure_ascii=False).encode("utf-8")
