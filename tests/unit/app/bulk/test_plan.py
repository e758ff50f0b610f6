"""Which objects a job takes: whatever their keys are, and never what a job has written."""

from __future__ import annotations

import pytest

from lambda_app.bulk import plan
from tests.support.bulk_jobs import Runner, job, jsonl
from tests.support.bulk_storage import Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ROW = jsonl([{"id": "a", "text": "t"}])


@pytest.fixture
def runner(store: Storage) -> Runner:
    return Runner(fake_dispatcher(), store)


KEYS = [
    "in/with space.jsonl",
    "in/with+plus.jsonl",
    "in/with%20percent.jsonl",
    "in/蚊 é.jsonl",
    "in/q?x=1&y#z.jsonl",
    "in//double.jsonl",
    'in/quote".jsonl',
    "in/back\\slash.jsonl",
    "in/year=2026/a.jsonl",
    "in/UPPER.JSONL",
    "in/dots..jsonl",
]


def test_keys_of_every_kind(runner: Runner, store: Storage) -> None:
    for number, key in enumerate(KEYS):
        store.put(key, jsonl([{"id": number, "text": "t"}]))
    summary = runner.run()
    assert summary["rows"] == {"in": len(KEYS), "out": len(KEYS), "refused": 0}
    # One object by its own name, without a plan.
    for number, key in enumerate(KEYS):
        event = {"action": "embed_object", **job(source=f"s3://texts/{key}", output="s3://vectors/one")}
        assert runner.call(event)["rows"] == 1, number


@pytest.mark.parametrize("output", ["in", "in/out", "in/deep/er/out"])
def test_an_output_below_the_source_is_not_embedded(runner: Runner, store: Storage, output: str) -> None:
    store.put("in/a.jsonl", ROW + b"{\n")
    # Names that only look like those of an output are read, and stay.
    names = ["parts/mine.jsonl", "runs-2026.jsonl", "manifest.json.jsonl", "errors/errors-x.jsonl"]
    for number, name in enumerate(names):
        store.put(f"in/{name}", jsonl([{"id": number, "text": "t"}]))
    fields = {"output": f"s3://texts/{output}", "tolerated_failure_percentage": 50}
    for _ in range(2):
        assert runner.run(**fields)["rows"] == {"in": 6, "out": 5, "refused": 1}
    assert {f"in/{name}" for name in names} <= set(store.keys("in", "texts"))


def test_what_is_not_a_jobs_own_is_never_deleted(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", ROW)
    mine = [f"out/{name}" for name in ("parts/part-1.jsonl", "errors/errors-x.csv", "receipts/part-.json")]
    for key in mine:
        store.put(key, b"mine", bucket="vectors")
    failed = runner.run()["error"]
    # Those who read all of parts/ would read it too.
    assert failed["code"] == "rows_double"
    assert "parts/part-1.jsonl" in failed["message"]
    assert set(mine) <= set(store.keys())


def test_the_output_of_another_job_below_the_source_is_not_embedded(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", ROW)
    for run in ("run-1", "run-2", "run-3"):
        rows = runner.run(output=f"s3://texts/in/{run}")["rows"]
        assert rows == {"in": 1, "out": 1, "refused": 0}, run


def test_a_bucket_that_keeps_versions(runner: Runner, store: Storage) -> None:
    store.s3.put_bucket_versioning(Bucket="texts", VersioningConfiguration={"Status": "Enabled"})
    store.put("in/a.jsonl", ROW * 3)
    store.put("in/a.jsonl", ROW)
    store.put("in/b.jsonl", jsonl([{"id": "b", "text": "t"}]))
    store.put("in/gone.jsonl", ROW)
    store.delete("in/gone.jsonl", "texts")
    assert runner.run()["rows"]["in"] == 2
    fields = job()
    parts = runner.plan(fields)
    store.put("in/a.jsonl", ROW * 2)
    store.delete("in/b.jsonl", "texts")
    codes = [
        runner.call({"action": "embed_object", "job": fields, "part": part})["error"]["code"]
        for part in parts
    ]
    assert codes == ["object_changed", "object_not_found"]


def test_a_prefix_with_nothing_in_it(runner: Runner, store: Storage) -> None:
    store.put("in/.hidden", b"")
    store.put("in/folder/", b"")
    for source in ("s3://texts/in", "s3://texts/in/folder/", "s3://texts/none", "s3://vectors"):
        response = runner.call({"action": "plan", "job": job(source=source)})
        assert response["error"]["code"] == "object_not_found", source
    # Objects without a byte are a job without a row.
    store.put("in/empty.jsonl", b"")
    assert runner.run()["rows"] == {"in": 0, "out": 0, "refused": 0}


def test_more_parts_than_a_plan_holds(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "MAX_PARTS", 3)
    store.put("in/a.jsonl", b"\n" * 4_000)
    error = runner.call({"action": "plan", "job": job(part_bytes=1024)})["error"]
    assert (error["code"], error["param"]) == ("limit_exceeded", "part_bytes")
    assert runner.call({"action": "plan", "job": job(part_bytes=2048)})["parts"] == 2
