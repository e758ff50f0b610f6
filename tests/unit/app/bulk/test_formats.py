"""Objects as they come: each row is served or refused with a code, or the object is refused with one."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from tests.support.bulk_jobs import Runner, job, jsonl
from tests.support.bulk_storage import Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def runner(store: Storage) -> Runner:
    return Runner(fake_dispatcher(), store)


def outcome(runner: Runner, **changes: Any) -> tuple[list[str], list[tuple[int, str]]]:
    """Ids that were served, in order, and the line and code of each row that was refused."""
    summary = runner.run(tolerated_failure_percentage=100, **changes)
    served = [line["id"] for line in runner.store.all_lines("out/parts/")]
    errors = [(error["line"], error["code"]) for error in runner.store.all_lines("out/errors/errors-")]
    assert summary["rows"] == {"in": len(served) + len(errors), "out": len(served), "refused": len(errors)}
    return served, errors


LINES = [
    ('\ufeff{"id": "bom", "text": "t"}', None),
    ('{"id": "crlf", "text": "t"}\r', None),
    ('{"id": "nul", "text": "a\x00b"}', "invalid_json"),
    ("\x00", "invalid_json"),
    ('{"id": 7, "text": "t"}', None),
    ('{"id": -7, "text": "t"}', None),
    ('{"id": true, "text": "t"}', "invalid_field"),
    ('{"id": {"a": 1}, "text": "t"}', "invalid_field"),
    ('{"id": ["a"], "text": "t"}', "invalid_field"),
    ('{"id": null, "text": "t"}', "missing_field"),
    ('{"id": "null", "text": null}', "missing_field"),
    ('{"id": "number", "text": 5}', "invalid_field"),
    ('{"id": "list", "text": ["t"]}', "invalid_field"),
    ('{"id": "empty", "text": ""}', "invalid_text"),
    ('{"id": "spaces", "text": " \\t "}', None),
    ('{"id": "twice", "text": "a", "text": "b"}', None),
    ('{"id": "extra", "text": "t"} {"id": "more", "text": "t"}', "invalid_json"),
    ('"text"', "invalid_field"),
    ("null", "invalid_field"),
    ("[" * 100_000, "invalid_json"),
    ('{"id": ' + "1" * 5_000 + ', "text": "t"}', "invalid_json"),
    ('{"id": "' + "é" * 513 + '", "text": "t"}', "invalid_field"),
]


def test_lines_of_every_kind(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", "\n".join(line for line, _ in LINES).encode())
    served, errors = outcome(runner, part_bytes=60_000)
    assert errors == [(number, code) for number, (_, code) in enumerate(LINES, 1) if code is not None]
    assert served == ["bom", "crlf", "7", "-7", "spaces", "twice"]


def test_a_line_that_is_longer_than_several_parts(runner: Runner, store: Storage) -> None:
    long = json.dumps({"id": "long", "text": "word " * 30_000, "n": "x" * 5_000_000})
    store.put("in/a.jsonl", '{"id": "a", "text": "t"}\n' + long + '\n{"id": "b", "text": "t"}\n')
    assert outcome(runner) == (["a", "long", "b"], [])


CSV = [
    ("id,text\n1,one\n", ["1"], []),
    ('id,text\r\n1,"a\r\nb, ""c"""\r\n2,two\r\n', ["1", "2"], []),
    ("id,text\r1,one\r2,two\r", ["1", "2"], []),
    ("text,id\nt,1\n,2\n", ["1"], [(3, "invalid_text")]),
    ("id,body\n1,one\n", [], [(2, "missing_field")]),
    ('id,text\n1,"never closed\n2,two\n', ["1"], []),
    ("id,text\n1,a\0b\n2,two\n", ["2"], [(2, "invalid_text")]),
    ("id;text\n1;one\n", [], [(2, "missing_field")]),
    ("\n\nid,text\n1,one\n", ["1"], []),
]


@pytest.mark.parametrize(("content", "served", "errors"), CSV)
def test_tables_of_every_kind(
    runner: Runner, store: Storage, content: str, served: list[str], errors: list[tuple[int, str]]
) -> None:
    store.put("in/a.csv", content.encode())
    assert outcome(runner) == (served, errors)


ROWS = jsonl({"id": f"r{number}", "text": "t"} for number in range(2_000))
PACKED = gzip.compress(ROWS)


@pytest.mark.parametrize(
    ("key", "content", "served"),
    [
        ("members.jsonl.gz", gzip.compress(ROWS[:1000]) + gzip.compress(ROWS[1000:]), 2_000),
        ("padded.jsonl.gz", PACKED + bytes(512), 2_000),
        (
            "padded-members.jsonl.gz",
            gzip.compress(ROWS[:1000]) + bytes(9) + gzip.compress(ROWS[1000:]),
            2_000,
        ),
        ("empty-member.jsonl.gz", gzip.compress(b"") + PACKED, 2_000),
        ("cut.jsonl.gz", PACKED[:-9], None),
        ("cut-header.jsonl.gz", PACKED[:5], None),
        ("checksum.jsonl.gz", PACKED[:-8] + bytes(8), None),
        ("trailing.jsonl.gz", PACKED + b"garbage", None),
        ("named-wrongly.jsonl", PACKED, None),
        ("named-wrongly.csv", PACKED, None),
        ("not-gzip.csv.gz", b"id,text\n1,one\n", None),
        ("not.parquet", b"PAR1" + bytes(100) + b"PAR1", None),
        ("empty.parquet", b"x", None),
    ],
)
def test_objects_that_are_read_whole_or_refused(
    runner: Runner, store: Storage, key: str, content: bytes, served: int | None
) -> None:
    store.put(f"in/{key}", content)
    if served is not None:
        assert len(outcome(runner)[0]) == served
        return
    fields = job()
    codes = set()
    for part in runner.plan(fields):
        codes.add(runner.call({"action": "embed_object", "job": fields, "part": part})["error"]["code"])
    assert codes == {"object_unreadable"}
    assert runner.call({"action": "finish", "job": fields})["error"]["code"] == "rows_missing"
