"""Ids that several rows have: found whatever the objects are, in as little memory as there is."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from lambda_app.bulk import doubles
from lambda_app.bulk.layout import Receipt
from tests.support.bulk_jobs import OUTPUT, Runner, job, jsonl
from tests.support.bulk_storage import Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def runner(store: Storage) -> Runner:
    return Runner(fake_dispatcher(), store)


def rows(prefix: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}{number}", "text": f"text {number}"} for number in range(count)]


def test_an_id_in_two_objects_fails_the_job_and_is_named_with_its_places(
    runner: Runner, store: Storage
) -> None:
    store.put("in/a.jsonl", b"\n" + jsonl(rows("a", 40)))
    store.put("in/b.jsonl.gz", gzip.compress(b"\n" + jsonl([*rows("b", 3), {"id": "a17", "text": "other"}])))
    store.put("in/c.csv", "id,text\nc0,one\n7,two\n")
    store.put("in/d.jsonl", jsonl([{"id": 7, "text": "t"}]))
    failed = runner.run(part_bytes=1024)
    assert failed["error"]["code"] == "rows_double"
    assert failed["error"]["message"].startswith("2 rows have the id of another row")
    assert "a17" not in failed["error"]["message"]
    assert "out/manifest.json" not in store
    assert store.json("out/manifest.failed.json")["failure"]["code"] == "rows_double"
    content = store.get("in/a.jsonl", "texts")
    assert store.all_lines("out/doubles.jsonl") == [
        {"id": "7", "object": "s3://texts/in/c.csv", "line": 3, "row": 1},
        {"id": "7", "object": "s3://texts/in/d.jsonl", "line": 1, "offset": 0},
        {
            "id": "a17",
            "object": "s3://texts/in/a.jsonl",
            "line": 19,
            "offset": content.index(b'{"id": "a17"'),
        },
        {"id": "a17", "object": "s3://texts/in/b.jsonl.gz", "line": 5, "row": 4},
    ]
    # Mended, the job succeeds, and what was said of it is gone.
    store.put("in/b.jsonl.gz", gzip.compress(jsonl(rows("b", 4))))
    store.put("in/d.jsonl", jsonl([{"id": 8, "text": "t"}]))
    assert runner.run(part_bytes=1024, resume=True)["rows"] == {"in": 47, "out": 47, "refused": 0}
    assert "out/doubles.jsonl" not in store


def test_an_id_twice_in_one_object(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl([*rows("a", 3), *rows("a", 1)]))
    assert runner.run()["error"]["code"] == "rows_double"
    assert [entry["line"] for entry in store.all_lines("out/doubles.jsonl")] == [1, 4]
    # Places are ids of their own.
    assert runner.run(id_field="$position")["rows"] == {"in": 4, "out": 4, "refused": 0}


def test_rows_of_an_index_with_one_id_are_found_although_one_has_overwritten_the_other(
    runner: Runner, store: Storage
) -> None:
    store.put("in/a.jsonl", jsonl(rows("a", 2)))
    store.put("in/b.jsonl", jsonl(rows("a", 1)))
    failed = runner.run(output=store.index("texts", 4), work=OUTPUT)
    assert failed["error"]["code"] == "rows_double"
    assert len(store.indexed("texts")) == 2


def test_documents_with_one_id(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows("a", 1) * 2))
    assert runner.run(chunk={"tokens": 8})["error"]["code"] == "rows_double"


def test_a_row_that_was_refused_is_no_double(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": ""}, {"id": "a", "text": "good"}]))
    summary = runner.run(tolerated_failure_percentage=50)
    assert summary["rows"] == {"in": 2, "out": 1, "refused": 1}


def test_an_object_that_is_gone_leaves_its_places_out(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(rows("a", 2)))
    store.put("in/b.jsonl", jsonl(rows("a", 1)))
    assert runner.run()["error"]["code"] == "rows_double"
    store.delete("in/b.jsonl", "texts")
    assert runner.call({"action": "finish", "job": job()})["error"]["code"] == "rows_double"
    assert [entry["object"] for entry in store.all_lines("out/doubles.jsonl")] == ["s3://texts/in/a.jsonl"]


def receipt(ids: list[bytes]) -> Receipt:
    fields: dict[str, Any] = dict.fromkeys(Receipt._fields, 0) | {"ids": doubles.packed(ids)}
    return Receipt(**fields)


@pytest.mark.parametrize("shares", [1, 2, 7, 300])
def test_shares_find_what_all_at_once_would(shares: int) -> None:
    digests = [os.urandom(doubles.DIGEST_BYTES) for _ in range(3_000)]
    # Digests that end in zeros, which numpy leaves out of strings.
    digests += [b"\1" + bytes(9), b"\1" + bytes(8) + b"\2", bytes(10)]
    twice = [*digests[5:9], bytes(10), b"\1" + bytes(9)]
    receipts = [receipt(digests), receipt(twice), receipt([])]

    def read() -> Iterator[Receipt]:
        return iter(receipts)

    first = doubles.Share(0, shares)
    for one in read():
        first.add(one.ids)
    found = doubles.find(first, shares, read)
    assert found.rows == len(twice)
    assert sorted(found.digests) == sorted(twice)


def test_as_many_passes_as_memory_needs() -> None:
    row = len(json.dumps(receipt([bytes(10)] * 1_000).ids)) / 1_000
    assert doubles.shares_of(int(10_000_000 * row), 1_769) == 1
    assert doubles.shares_of(int(100_000_000 * row), 1_769) == 7
    assert doubles.shares_of(int(100_000_000 * row), 10_240) == 2
    assert doubles.shares_of(0, 128) == 1


def test_a_corpus_that_takes_several_passes(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubles, "MIN_DIGESTS", 20)
    monkeypatch.setattr(doubles, "DIGESTS_PER_MB", 0)
    sizes: list[int] = []
    compare = doubles.Share.doubles

    def measured(share: doubles.Share) -> Any:
        sizes.append(sum(map(len, share._found)))
        return compare(share)

    monkeypatch.setattr(doubles.Share, "doubles", measured)
    store.put("in/a.jsonl", jsonl(rows("a", 120)))
    assert runner.run(part_bytes=1024)["rows"]["out"] == 120
    assert sum(sizes) == 120
    assert len(sizes) > 5
    assert max(sizes) < 60
    store.put("in/b.jsonl", jsonl([{"id": "a111", "text": "t"}]))
    assert runner.run(part_bytes=1024)["error"]["code"] == "rows_double"
    assert [entry["id"] for entry in store.all_lines("out/doubles.jsonl")] == ["a111", "a111"]
