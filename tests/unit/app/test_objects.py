"""Objects of S3: notifications and batch tasks embed them, and come back where that failed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.errors import LambdaAppError, StorageRefusedError, UnservedEventError
from scripts.paths import ROOT
from tests.support.bulk_storage import IN, OUT, Storage
from tests.support.fakes import Context, fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
LINES = '{"id": "1", "text": "a"}\n{"id": "2", "text": "bb"}\n'


def dispatcher(output: str = f"s3://{OUT}/done") -> Any:
    return fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": output})


def notification(*keys: str, name: str = "ObjectCreated:Put", bucket: str = IN) -> dict[str, Any]:
    entity = {"bucket": {"name": bucket}}
    records = [
        {"eventSource": "aws:s3", "eventName": name, "s3": {**entity, "object": {"key": key}}} for key in keys
    ]
    return {"Records": records}


def tasks(*keys: str, version: str = "1.0", **arguments: str) -> dict[str, Any]:
    bucket = {"s3BucketArn": f"arn:aws:s3:::{IN}"} if version == "1.0" else {"s3Bucket": IN}
    found = [{"taskId": f"task-{key}", "s3Key": key, "s3VersionId": "1", **bucket} for key in keys]
    job = {"id": "job", "userArguments": arguments} if arguments else {"id": "job"}
    return {"invocationSchemaVersion": version, "invocationId": "id", "job": job, "tasks": found}


def ids(store: Storage) -> list[str]:
    return sorted(line["id"] for line in store.all_lines("done/parts/"))


def test_a_new_object_is_embedded_once_however_often_it_is_announced(store: Storage) -> None:
    store.put("my texts.jsonl", LINES)
    for _ in range(2):
        assert dispatcher()(notification("my+texts.jsonl"), Context()) == {"embedded": 1}
        assert ids(store) == ["1", "2"]


def test_what_is_written_and_what_is_deleted_is_passed_over(store: Storage) -> None:
    store.put("done/parts/x.jsonl", LINES, bucket=OUT)
    before = store.keys()
    assert dispatcher()(notification("done/parts/x.jsonl", bucket=OUT), Context()) == {"embedded": 0}
    assert dispatcher()(notification("gone", name="ObjectRemoved:Delete"), Context()) == {"embedded": 0}
    assert store.keys() == before


def test_an_object_that_fails_raises_after_the_others_are_done(store: Storage) -> None:
    store.put("good.jsonl", LINES)
    with pytest.raises(StorageRefusedError):
        dispatcher()(notification("missing.jsonl", "good.jsonl"), Context())
    assert ids(store) == ["1", "2"]
    with pytest.raises(LambdaAppError, match=r"Records\[0\] names no object"):
        dispatcher()({"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}, Context())


@pytest.mark.parametrize("sink", ["discard", "s3vectors://bucket/index"])
def test_without_a_place_for_files_notifications_are_not_served(sink: str) -> None:
    with pytest.raises(UnservedEventError):
        dispatcher(sink)(notification("a"), Context())


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_tasks_are_answered_one_by_one(store: Storage, version: str) -> None:
    store.put("a b.jsonl", LINES)
    answer = dispatcher()(tasks("a+b.jsonl", "missing.jsonl", version=version), Context())
    assert (answer["invocationSchemaVersion"], answer["invocationId"]) == (version, "id")
    good, bad = answer["results"]
    assert good == {"taskId": "task-a+b.jsonl", "resultCode": "Succeeded", "resultString": "ok"}
    assert (bad["taskId"], bad["resultCode"]) == ("task-missing.jsonl", "PermanentFailure")
    assert bad["resultString"].startswith("object_not_found: ")
    assert ids(store) == ["1", "2"]


def test_arguments_of_the_job_say_what_is_read_and_where_it_goes(store: Storage) -> None:
    store.put("a.jsonl", '{"id": "1", "body": "a"}\n')
    arguments = {"text_field": "body", "output": f"s3://{OUT}/other"}
    answer = dispatcher("discard")(tasks("a.jsonl", version="2.0", **arguments), Context())
    assert answer["results"][0]["resultCode"] == "Succeeded"
    assert [line["id"] for line in store.all_lines("other/parts/")] == ["1"]
    (refused,) = dispatcher("discard")(tasks("a.jsonl"), Context())["results"]
    assert refused["resultString"].startswith("missing_field: there is no output")
    (refused,) = dispatcher()(tasks("a.jsonl", version="2.0", typo="x"), Context())["results"]
    assert refused["resultString"].startswith("unknown_field: ")


def test_a_task_whose_time_ran_out_is_tried_again(store: Storage) -> None:
    store.put("a.jsonl", LINES)
    (result,) = dispatcher()(tasks("a.jsonl"), Context(seconds=0.1))["results"]
    assert result["resultCode"] == "TemporaryFailure"
    assert result["resultString"].startswith("deadline_exceeded: ")
    (result,) = dispatcher()(tasks("a.jsonl"), Context())["results"]
    assert result["resultCode"] == "Succeeded"


@pytest.mark.parametrize(
    "task", [None, 7, {}, {"taskId": "\ud800", "s3Key": "\ud800", "s3Bucket": "b"}, {"s3Key": ""}]
)
def test_a_task_that_names_no_object_fails_alone(store: Storage, task: Any) -> None:
    store.put("a.jsonl", LINES)
    event = tasks("a.jsonl", version="2.0")
    event["tasks"].insert(0, task)
    answer = dispatcher()(event, Context())
    assert [result["resultCode"] for result in answer["results"]] in (
        ["PermanentFailure", "Succeeded"],
        ["TemporaryFailure", "Succeeded"],
    )
    json.dumps(answer, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize("name", ["s3", "s3-batch"])
def test_the_sample_events_are_served(store: Storage, name: str) -> None:
    store.put("in/my texts.jsonl", '{"id": "1", "body": "a", "text": "a"}\n')
    answer = dispatcher()(json.loads((ROOT / "events" / f"{name}.json").read_text()), Context())
    assert answer == {"embedded": 1} or answer["results"][0]["resultCode"] == "Succeeded"
    assert ids(store) == ["1"]
