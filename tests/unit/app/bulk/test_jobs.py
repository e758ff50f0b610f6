"""Jobs over objects in S3: every row once, whatever objects look like and wherever they are cut."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import numpy as np
import pytest

from lambda_app.bulk import s3, write
from tests.support.bulk_jobs import OUTPUT, Runner, job, jsonl, vector
from tests.support.bulk_storage import Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

WORDS = ["yellow", "fever", "蚊", "Grüße", "🦟🦟", "naïve", "x"]


def rows(count: int, seed: int = 1, prefix: str = "row") -> list[dict[str, Any]]:
    draw = random.Random(seed)
    return [
        {"id": f"{prefix}{number}", "text": " ".join(draw.choices(WORDS, k=draw.randint(1, 12))), "n": number}
        for number in range(count)
    ]


@pytest.fixture
def runner(store: Storage) -> Runner:
    return Runner(fake_dispatcher(), store)


def by_id(found: list[dict[str, Any]]) -> dict[str, Any]:
    assert len({line["id"] for line in found}) == len(found), "a row is there twice"
    return {line["id"]: line for line in found}


def test_every_row_is_there_once_with_the_vector_of_a_direct_call(runner: Runner, store: Storage) -> None:
    some = rows(300)
    store.put("in/a.jsonl", jsonl(some[:200]))
    store.put("in/b.jsonl", jsonl(some[200:]).rstrip(b"\n"))
    summary = runner.run(part_bytes=1024, metadata_fields=["n"])
    assert summary["rows"] == {"in": 300, "out": 300, "refused": 0}
    assert summary["parts"] > 10
    found = by_id(store.all_lines("out/parts/"))
    assert found.keys() == {row["id"] for row in some}
    assert all(found[row["id"]]["metadata"] == {"n": row["n"]} for row in some)
    direct = runner.call({"action": "embed", "texts": [row["text"] for row in some], "encoding": "base64"})[
        "embeddings"
    ]
    assert [found[row["id"]]["vector"] for row in some] == direct


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
@pytest.mark.parametrize("seed", range(3))
def test_ranges_may_be_cut_anywhere(
    runner: Runner, store: Storage, seed: int, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the middle of a character, of a line's end, or at it; blocks of S3 likewise."""
    some = rows(40, seed)
    text = ends.join(json.dumps(row, ensure_ascii=False) for row in some)
    content = (text + (ends if seed % 2 else "")).encode()
    store.put("in/a.jsonl", content)
    monkeypatch.setattr(s3, "BLOCK_BYTES", 97)
    monkeypatch.setattr(s3, "TAIL_BYTES", 13)
    fields = job()
    (whole,) = runner.plan(fields)
    draw = random.Random(seed)
    cuts = sorted(draw.sample(range(1, len(content)), 25))
    places = list(zip([0, *cuts], [*cuts, len(content)], strict=True))
    parts = [
        whole | {"part": f"{number:06d}", "start": start, "end": end}
        for number, (start, end) in enumerate(places)
    ]
    store.put("out/plan.jsonl", jsonl(parts), bucket="vectors")
    for part in parts:
        runner.part(fields, part)
    summary = runner.call({"action": "finish", "job": fields})
    assert summary["rows"] == {"in": 40, "out": 40, "refused": 0}
    assert by_id(store.all_lines("out/parts/")).keys() == {row["id"] for row in some}


BAD = [
    ("", None),
    ("   ", None),
    ("{", "invalid_json"),
    ('{"id": "x", "text": NaN}', "invalid_json"),
    ("[1]", "invalid_field"),
    ('{"text": "no id"}', "missing_field"),
    ('{"id": 1.5, "text": "t"}', "invalid_field"),
    ('{"id": "", "text": "t"}', "invalid_field"),
    ('{"id": "\\ud800", "text": "t"}', "invalid_field"),
    ('{"id": "no-text"}', "missing_field"),
    ('{"id": "empty", "text": ""}', "invalid_text"),
    ('{"id": "nul", "text": "a\\u0000"}', "invalid_text"),
    ('{"id": "surrogate", "text": "\\ud800"}', "invalid_text"),
    ('{"id": "meta", "text": "t", "n": "\\ud800"}', "invalid_text"),
    ('{"id": "nested", "text": "t", "n": ["\\ud800"]}', "invalid_text"),
    ('{"id": "long", "text": "' + "x" * 200_001 + '"}', "limit_exceeded"),
]


@pytest.mark.parametrize("part_bytes", [50_000, 1_000_000])
def test_rows_that_cannot_be_served_are_named_with_object_and_line(
    runner: Runner, store: Storage, part_bytes: int
) -> None:
    good = rows(len(BAD))
    lines = []
    for (bad, _), row in zip(BAD, good, strict=True):
        lines += [json.dumps(row), bad]
    content = "\n".join(lines).encode() + b"\n\xff\xfe\n"
    store.put("in/a.jsonl", content)
    summary = runner.run(
        part_bytes=part_bytes, metadata_fields=["n"], tolerated_failure_percentage=60, encoding="float"
    )
    refused = [(2 * number + 2, code) for number, (_, code) in enumerate(BAD) if code is not None]
    refused.append((len(lines) + 1, "invalid_json"))
    assert summary["rows"] == {"in": len(good) + len(refused), "out": len(good), "refused": len(refused)}
    errors = store.all_lines("out/errors/errors-")
    assert sorted((error["line"], error["code"]) for error in errors) == sorted(refused)
    for error in errors:
        assert error["object"] == "s3://texts/in/a.jsonl"
        # The offset is where the line begins.
        assert content[: error["offset"]].count(b"\n") == error["line"] - 1
        assert "x" * 100 not in json.dumps(error)
    # Finished again, lines stay what they are.
    again = runner.call(
        {
            "action": "finish",
            "job": job(metadata_fields=["n"], tolerated_failure_percentage=60, encoding="float"),
        }
    )
    assert again["rows"] == summary["rows"]
    assert store.all_lines("out/errors/errors-") == errors


def test_more_refused_rows_than_are_tolerated_fail_the_job(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(9)) + b"{\n")
    assert runner.run(tolerated_failure_percentage=10)["rows"]["refused"] == 1
    assert "out/manifest.json" in store
    failed = runner.run(tolerated_failure_percentage=9.9)
    assert failed["error"]["code"] == "too_many_refused"
    assert "out/manifest.json" not in store
    assert store.json("out/manifest.failed.json")["failure"]["code"] == "too_many_refused"
    assert runner.run()["error"]["code"] == "too_many_refused"


def test_objects_of_every_kind(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(5, prefix="a")))
    store.put(
        "in/b.jsonl.gz", gzip.compress(jsonl(rows(3, prefix="b"))) + gzip.compress(jsonl(rows(2, prefix="c")))
    )
    store.put("in/c.csv", '\ufeffid,text\r\nd1,"two\nlines, and ""quotes"""\r\n\r\nd2,plain\r\n')
    store.put("in/d.csv.gz", gzip.compress(b"id,text\ne1,packed\n"))
    store.put("in/e.tsv", "text\tid\ntabs\tf1")
    store.put("in/empty.jsonl", b"")
    store.put("in/empty.csv", b"")
    store.put("in/only-header.csv", b"id,text\n")
    store.put("in/empty.jsonl.gz", gzip.compress(b""))
    store.put("in/bom.jsonl", b"\xef\xbb\xbf" + jsonl([{"id": "bom", "text": "t"}]))
    store.put("in/crlf.ndjson", b'{"id": 7, "text": "t"}\r\n\r\n')
    store.put("in/folder/", b"")
    store.put("in/_SUCCESS", b"")
    store.put("in/photo.jpg", b"jpg")
    planned = runner.call({"action": "plan", "job": job()})
    assert planned["skipped"] == {
        "objects": 2,
        "first": ["s3://texts/in/_SUCCESS", "s3://texts/in/photo.jpg"],
    }
    assert planned["empty_objects"] == 2
    summary = runner.run()
    found = by_id(store.all_lines("out/parts/"))
    assert found.keys() == {
        *(f"a{number}" for number in range(5)),
        *("b0", "b1", "b2", "c0", "c1", "d1", "d2", "e1", "f1", "bom", "7"),
    }
    assert summary["rows"] == {"in": 16, "out": 16, "refused": 0}


def test_rows_of_a_table_that_cannot_be_read(runner: Runner, store: Storage) -> None:
    store.put("in/a.csv", b'id,text\n1,one\n2\n3,three,more\n4,"\xff"\n5,five\n')
    summary = runner.run(tolerated_failure_percentage=60)
    assert summary["rows"] == {"in": 5, "out": 2, "refused": 3}
    errors = store.all_lines("out/errors/errors-")
    assert [(error["line"], error["code"]) for error in errors] == [
        (3, "invalid_field"),
        (4, "invalid_field"),
        (5, "invalid_text"),
    ]


@pytest.mark.parametrize("content", [b"no gzip", gzip.compress(jsonl(rows(50)))[:-20]])
def test_what_is_not_gzip(runner: Runner, store: Storage, content: bytes) -> None:
    store.put("in/a.jsonl.gz", content)
    fields = job()
    (part,) = runner.plan(fields)
    response = runner.call({"action": "embed_object", "job": fields, "part": part})
    assert response["error"]["code"] == "object_unreadable"
    # The job is then not finished.
    assert runner.call({"action": "finish", "job": fields})["error"]["code"] == "rows_missing"


def test_a_line_that_is_too_long_is_refused_and_not_held(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lambda_app.bulk.lines.MAX_LINE_BYTES", 500)
    monkeypatch.setattr(s3, "BLOCK_BYTES", 100)
    long = b'{"id": "b", "text": "' + b"x" * 5_000 + b'"}\n'
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": "t"}]) + long + jsonl([{"id": "c", "text": "t"}]))
    summary = runner.run(tolerated_failure_percentage=50, part_bytes=1024)
    assert summary["rows"] == {"in": 3, "out": 2, "refused": 1}
    (error,) = store.all_lines("out/errors/errors-")
    assert (error["line"], error["code"]) == (2, "limit_exceeded")


def test_fields_have_the_names_that_the_job_says(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl([{"key": 3, "body": "text", "deep": {"a": [1]}, "none": None}]))
    runner.run(
        text_field="body", id_field="key", metadata_fields=["deep", "none", "missing"], encoding="float"
    )
    (line,) = store.all_lines("out/parts/")
    assert (line["id"], line["metadata"]) == ("3", {"deep": {"a": [1]}})
    assert len(line["vector"]) == 4
    runner.run(text_field="body", id_field="$position")
    (line,) = store.all_lines("out/parts/")
    assert line["id"] == "in/a.jsonl@0"


def test_texts_are_embedded_with_their_input_type(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": "text"}]))
    for input_type in ("query", "passage"):
        runner.run(input_type=input_type)
        (line,) = store.all_lines("out/parts/")
        direct = {"action": "embed", "texts": ["text"], "input_type": input_type, "encoding": "base64"}
        assert runner.call(direct)["embeddings"] == [line["vector"]]


# Time


class SlowService:
    """Makes every group take its time, on a clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, runner: Runner, seconds: float) -> None:
        service = runner.handler._service
        embed = service.embed

        def slow(request: Any, invocation: Any) -> Any:
            self.now += seconds * len(request.texts)
            return embed(request, invocation)

        self.now = 1_000.0
        monkeypatch.setattr(service, "embed", slow)
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv"])
def test_a_part_that_is_longer_than_an_invocation_goes_on(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    some = rows(600)
    content = (
        jsonl(some)
        if "json" in name
        else b"id,text\n" + b"".join(f"{row['id']},{row['text']}\n".encode() for row in some)
    )
    store.put(f"in/{name}", gzip.compress(content) if name.endswith(".gz") else content)
    SlowService(monkeypatch, runner, 0.5)
    fields = job()
    (part,) = runner.plan(fields)
    responses = runner.part(fields, part)
    # 60 seconds hold some of 300 seconds of work.
    assert 6 <= len(responses) <= 9
    assert sum(response["rows"] for response in responses) == 600
    summary = runner.call({"action": "finish", "job": fields})
    assert summary["rows"] == {"in": 600, "out": 600, "refused": 0}
    assert by_id(store.all_lines("out/parts/")).keys() == {row["id"] for row in some}


def test_a_deadline_within_a_group_loses_and_doubles_nothing(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first groups are fast and later ones slow, so that estimates are wrong."""
    store.put("in/a.jsonl", jsonl(rows(400)))
    runner.make_late(monkeypatch, 3)
    summary = runner.run()
    assert summary["rows"] == {"in": 400, "out": 400, "refused": 0}
    assert len(by_id(store.all_lines("out/parts/"))) == 400


def test_time_for_not_even_one_group_is_an_error_and_no_endless_loop(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("in/a.jsonl", jsonl(rows(5)))
    runner.seconds = 0.0
    fields = job()
    (part,) = runner.plan(fields)
    response = runner.call({"action": "embed_object", "job": fields, "part": part})
    assert response["error"]["code"] == "deadline_exceeded"


def test_files_end_when_they_are_full(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "MAX_FILE_VECTORS", 50)
    store.put("in/a.jsonl", jsonl(rows(400)))
    summary = runner.run()
    assert summary["rows"]["out"] == 400
    assert len(store.keys("out/parts/")) > 2
    assert len(by_id(store.all_lines("out/parts/"))) == 400


# The same job again


def test_the_same_job_again_overwrites_the_same_parts(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(50)) + b"{\n")
    runner.run(part_bytes=1024, tolerated_failure_percentage=5)
    keys = sorted(store.keys())
    content = {key: store.get(key) for key in store.keys("out/parts/")}
    runner.run(part_bytes=1024, tolerated_failure_percentage=5)
    assert sorted(store.keys()) == keys
    assert {key: store.get(key) for key in content} == content
    # Fewer parts leave none of the others behind.
    assert runner.run(part_bytes=1_000_000, tolerated_failure_percentage=5)["rows"]["out"] == 50
    assert len(store.keys("out/parts/")) == 1


def test_resume_takes_up_what_fits_and_nothing_else(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = rows(60)
    store.put("in/a.jsonl", jsonl(some[:30]))
    store.put("in/b.jsonl", jsonl(some[30:]))
    service = runner.handler._service
    embedded: list[str] = []
    embed = service.embed

    def counting(request: Any, invocation: Any) -> Any:
        embedded.extend(request.texts)
        return embed(request, invocation)

    monkeypatch.setattr(service, "embed", counting)
    first = runner.run()
    assert len(embedded) == 60
    embedded.clear()
    assert runner.run(resume=True)["rows"] == first["rows"]
    assert embedded == []
    # A file that is gone, one with other content, and one without its receipt.
    store.delete("out/parts/part-000000-0000.jsonl.gz")
    assert runner.run(resume=True)["rows"] == first["rows"]
    assert len(embedded) == 30
    embedded.clear()
    store.put("out/parts/part-000001-0000.jsonl.gz", b"other", bucket="vectors")
    assert runner.run(resume=True)["rows"] == first["rows"]
    assert len(embedded) == 30
    embedded.clear()
    store.delete("out/receipts/part-000001-0000.json")
    assert runner.run(resume=True)["rows"] == first["rows"]
    assert len(embedded) == 30
    embedded.clear()
    # Other fields, another object, another model.
    assert runner.run(resume=True, input_type="query")["rows"] == first["rows"]
    assert len(embedded) == 60
    embedded.clear()
    store.put("in/a.jsonl", jsonl(rows(31, prefix="other")))
    assert runner.run(resume=True, input_type="query")["rows"]["in"] == 61
    assert len(embedded) == 31
    embedded.clear()
    embedder = service.registry.embedder
    monkeypatch.setattr(embedder, "model", embedder.model._replace(fingerprint="sha256:other"))
    assert runner.run(resume=True, input_type="query")["rows"]["in"] == 61
    assert len(embedded) == 61


def test_resume_takes_up_the_files_of_a_part_that_was_not_finished(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put("in/a.jsonl", jsonl(rows(600)))
    fields = job(resume=True)
    (part,) = runner.plan(fields)
    clock = SlowService(monkeypatch, runner, 0.5)
    first = runner.call({"action": "embed_object", "job": fields, "part": part})
    assert not first["done"]
    before = store.keys("out/parts/")
    # Killed here: a file without a receipt, and nobody who knows where to go on.
    store.put("out/parts/part-000000-0001.jsonl.gz", b"half", bucket="vectors")
    clock.now += 1_000
    runner.part(fields, part)
    assert runner.call({"action": "finish", "job": fields})["rows"]["in"] == 600
    assert set(before) < set(store.keys("out/parts/"))
    assert len(by_id(store.all_lines("out/parts/"))) == 600


def test_a_child_that_was_killed_starts_anew_and_doubles_nothing(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(20)))
    fields = job()
    (part,) = runner.plan(fields)
    store.put("out/parts/part-000000-0000.jsonl.gz", b"half", bucket="vectors")
    store.put("out/parts/part-000000-0007.jsonl.gz", b"half", bucket="vectors")
    runner.part(fields, part)
    runner.part(fields, part)
    assert runner.call({"action": "finish", "job": fields})["rows"]["out"] == 20
    assert store.keys("out/parts/") == ["out/parts/part-000000-0000.jsonl.gz"]


# Rows that are missing or double


@pytest.fixture
def finished(runner: Runner, store: Storage) -> Runner:
    store.put("in/a.jsonl", jsonl(rows(60)))
    assert runner.run(part_bytes=1024)["rows"]["in"] == 60
    return runner


def finish(runner: Runner) -> dict[str, Any]:
    answer = runner.call({"action": "finish", "job": job(part_bytes=1024)})
    assert ("out/manifest.json" in runner.store) == ("error" not in answer)
    return answer


@pytest.mark.parametrize("key", ["out/parts/part-000001-0000.jsonl.gz", "out/receipts/part-000001-0000.json"])
def test_a_file_that_is_gone(finished: Runner, store: Storage, key: str) -> None:
    store.delete(key)
    assert finish(finished)["error"]["code"] == "rows_missing"


def test_a_file_that_is_cut(finished: Runner, store: Storage) -> None:
    key = "out/parts/part-000001-0000.jsonl.gz"
    store.put(key, store.get(key)[:-1], bucket="vectors")
    assert finish(finished)["error"]["code"] == "rows_missing"


def test_a_file_too_many(finished: Runner, store: Storage) -> None:
    store.put("out/parts/part-000001-0001.jsonl.gz", b"x", bucket="vectors")
    assert finish(finished)["error"]["code"] == "rows_double"


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("begin", 1, "rows_missing"),
        ("stop", 100, "rows_missing"),
        ("served", 0, "rows_missing"),
        ("done", False, "rows_missing"),
        ("etag", '"other"', "rows_missing"),
        ("fingerprint", "sha256:other", "models_differ"),
    ],
)
def test_a_receipt_that_does_not_fit(
    finished: Runner, store: Storage, field: str, value: Any, code: str
) -> None:
    key = "out/receipts/part-000002-0000.json"
    store.put(key, json.dumps(store.json(key) | {field: value}), bucket="vectors")
    assert finish(finished)["error"]["code"] == code


def test_the_manifest_says_what_came_of_it(finished: Runner, store: Storage) -> None:
    import hashlib

    manifest = store.json("out/manifest.json")
    assert {part["key"] for part in manifest["parts"]} == set(store.keys("out/parts/"))
    for part in manifest["parts"]:
        assert hashlib.sha256(store.get(part["key"])).hexdigest() == part["sha256"]
    assert sum(part["rows"] for part in manifest["parts"]) == manifest["rows"]["out"] == 60
    assert (manifest["model"], manifest["fingerprint"]) == ("test/embedding", "sha256:embedding")
    assert manifest["tokens"] == sum(len(row["text"]) for row in rows(60))
    assert manifest["cost"]["total"] > 0
    assert manifest["cost"]["currency"] == "USD"
    assert manifest["dimensions"] == 4


# One object, without a plan


def test_one_object_is_embedded_without_a_plan(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(5)))
    event = {"action": "embed_object", "source": "s3://texts/in/a.jsonl", "output": OUTPUT}
    first = runner.call(event)
    assert (first["done"], first["rows"], first["files"]) == (True, 5, 1)
    # An event may come twice.
    assert runner.call(event) == first
    assert len(store.keys("out/parts/")) == 1
    store.put("in/b.jsonl", jsonl(rows(6)))
    runner.call(event | {"source": "s3://texts/in/b.jsonl"})
    assert len(store.keys("out/parts/")) == 2


def test_an_object_that_was_written_to_meanwhile(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(5)))
    fields = job()
    (part,) = runner.plan(fields)
    store.put("in/a.jsonl", jsonl(rows(6)))
    response = runner.call({"action": "embed_object", "job": fields, "part": part})
    assert response["error"]["code"] == "object_changed"


# Fields


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"source": None}, "missing_field"),
        ({"source": "texts/in"}, "invalid_field"),
        ({"source": "http://texts/in"}, "invalid_field"),
        ({"output": "s3://"}, "invalid_field"),
        ({"output": "s3vectors://bucket/index"}, "missing_field"),
        ({"format": "avro"}, "invalid_field"),
        ({"encoding": "int8"}, "invalid_field"),
        ({"chunk": {"tokens": 4, "overlap": 4}}, "invalid_field"),
        ({"chunk": {"tokens": 400}}, "invalid_field"),
        ({"chunk": {"overlap": 4}}, "invalid_field"),
        ({"chunk": {"tokens": 4, "size": 4}}, "unknown_field"),
        ({"metadata_fields": "n"}, "invalid_field"),
        ({"metadata_fields": ["n", "n"]}, "invalid_field"),
        ({"metadata_fields": ["vector"]}, "invalid_field"),
        ({"format": "parquet", "metadata_fields": ["ID"]}, "invalid_field"),
        ({"format": "parquet", "metadata_fields": ["Title", "title"]}, "invalid_field"),
        ({"dimensions": 3}, "invalid_field"),
        ({"part_bytes": 10}, "invalid_field"),
        ({"tolerated_failure_percentage": 101}, "invalid_field"),
        ({"tolerated_failure_percentage": True}, "invalid_field"),
        ({"input_type": "text"}, "invalid_field"),
        ({"txt_field": "x"}, "unknown_field"),
        ({"source": "s3://missing/in"}, "object_not_found"),
        ({"source": "s3://texts/none"}, "object_not_found"),
        ({"output": "s3://missing/out"}, "object_not_found"),
    ],
)
def test_fields_that_are_refused(runner: Runner, store: Storage, changes: dict[str, Any], code: str) -> None:
    store.put("in/a.jsonl", jsonl(rows(1)))
    for event in ({"action": "plan", "job": job(**changes)}, {"action": "plan", **job(**changes)}):
        assert runner.call(event)["error"]["code"] == code


@pytest.mark.parametrize(
    "changes",
    [
        {"part": 1},
        {"part": {"part": "x"}},
        {"continue": {"segment": 1}},
        {"continue": {"place": 1}},
        {"more": 1},
    ],
)
def test_parts_that_are_refused(runner: Runner, store: Storage, changes: dict[str, Any]) -> None:
    store.put("in/a.jsonl", jsonl(rows(1)))
    event = {"action": "embed_object", "job": job(source="s3://texts/in/a.jsonl"), **changes}
    assert runner.call(event)["error"]["code"] in {"invalid_field", "unknown_field"}


def test_a_part_may_not_leave_the_output(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(1)))
    fields = job()
    (part,) = runner.plan(fields)
    for number in ("../x", "", "a-b"):
        event = {"action": "embed_object", "job": fields, "part": part | {"part": number}}
        assert runner.call(event)["error"]["code"] == "invalid_field"


def test_an_output_below_the_source_is_not_embedded_itself(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows(5)))
    for _ in range(2):
        assert runner.run(output="s3://texts/in")["rows"] == {"in": 5, "out": 5, "refused": 0}


def test_vectors_go_to_an_index(runner: Runner, store: Storage) -> None:
    output = store.index("texts", 4)
    some = rows(20)
    store.put("in/a.jsonl", jsonl([*some, {"id": "long" * 100, "text": "t", "n": "x" * 50_000}]))
    fields = {"output": output, "work": OUTPUT, "metadata_fields": ["n"], "tolerated_failure_percentage": 5}
    summary = runner.run(**fields)
    assert summary["rows"] == {"in": 21, "out": 20, "refused": 1}
    (error,) = store.all_lines("out/errors/errors-")
    assert (error["line"], error["code"]) == (21, "metadata_too_large")
    found = store.indexed("texts")
    direct = runner.call({"action": "embed", "texts": [row["text"] for row in some]})["embeddings"]
    for row, values in zip(some, direct, strict=True):
        assert found[row["id"]]["metadata"] == {"n": row["n"]}
        assert np.array_equal(vector(found[row["id"]]["data"]["float32"]), vector(values))
    assert store.keys("out/parts/") == []


def test_a_document_is_cut_into_pieces(runner: Runner, store: Storage) -> None:
    text = "one two three four five six seven"
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": text}, {"id": "b", "text": "short"}]))
    summary = runner.run(chunk={"tokens": 12, "overlap": 4})
    assert summary["rows"] == {"in": 2, "out": 2, "refused": 0}
    found = by_id(store.all_lines("out/parts/"))
    pieces = [found[f"a#{number}"] for number in range(len(found) - 1)]
    assert all(piece["document"] == "a" for piece in pieces)
    assert [text[piece["start"] : piece["end"]] for piece in pieces] == [
        "one two three",
        "four five six",
        "six seven",
    ]
    assert found["b#0"]["end"] == 5


def test_a_source_is_an_object_or_what_is_below_it(runner: Runner, store: Storage) -> None:
    for key in ("in/a.jsonl", "in/a.jsonl.gz", "in/b/c.jsonl", "input/d.jsonl", "in.jsonl"):
        store.put(key, b'{"id": "a", "text": "t"}\n')
    for source, objects in (
        ("in/a.jsonl", ["in/a.jsonl"]),
        ("in", ["in/a.jsonl", "in/a.jsonl.gz", "in/b/c.jsonl"]),
        ("in/", ["in/a.jsonl", "in/a.jsonl.gz", "in/b/c.jsonl"]),
        ("in/b", ["in/b/c.jsonl"]),
        ("", ["in.jsonl", "in/a.jsonl", "in/a.jsonl.gz", "in/b/c.jsonl", "input/d.jsonl"]),
    ):
        parts = runner.plan(job(source=f"s3://texts/{source}"))
        assert [part["object"] for part in parts] == [f"s3://texts/{key}" for key in objects]
