"""Parquet in and out, read back with DuckDB as a user would; without it, an error that says what to do."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from lambda_app.bulk import database, s3
from scripts.bulk.estimate import estimate
from tests.support.bulk_jobs import OUTPUT, Runner, job, jsonl, vector
from tests.support.bulk_storage import OUT, Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def runner(store: Storage) -> Runner:
    return Runner(fake_dispatcher(), store)


def table(store: Storage, tmp_path: Path) -> list[dict[str, Any]]:
    """The rows of all parts, as one table."""
    for key in store.keys("out/parts/"):
        (tmp_path / key.rpartition("/")[2]).write_bytes(store.get(key))
    with duckdb.connect() as database:
        found = database.execute(f"SELECT * FROM read_parquet('{tmp_path}/part-*.parquet')")
        names = [column[0] for column in found.description or ()]
        types = dict(zip(names, (str(column[1]) for column in found.description or ()), strict=True))
        assert types["vector"] == "FLOAT[]"
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def parquet(tmp_path: Path, query: str) -> bytes:
    path = tmp_path / "in.parquet"
    with duckdb.connect() as database:
        database.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 2048)")
    return path.read_bytes()


def test_vectors_and_metadata_are_read_back(runner: Runner, store: Storage, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "蚊", "t'i\"tle": "Mücke", "year": 1999, "tags": ["x", 1]},
        {"id": "b", "text": "two words"},
        {"id": 3, "text": "x" * 40, "year": None},
    ]
    store.put("in/a.jsonl", jsonl(rows))
    # None of these rows has metadata: the columns are the same.
    store.put("in/b.jsonl", jsonl([{"id": "c", "text": "c"}]))
    summary = runner.run(format="parquet", metadata_fields=["t'i\"tle", "year", "tags"])
    assert summary["rows"] == {"in": 4, "out": 4, "refused": 0}
    found = {row["id"]: row for row in table(store, tmp_path)}
    assert found.keys() == {"a", "b", "3", "c"}
    assert (found["a"]["t'i\"tle"], found["a"]["year"], found["a"]["tags"]) == ("Mücke", "1999", '["x", 1]')
    assert (found["b"]["year"], found["c"]["tags"], found["3"]["year"]) == (None, None, None)
    assert (found["a"]["truncated"], found["3"]["truncated"]) == (False, True)
    direct = runner.call({"action": "embed", "texts": [str(row["text"]) for row in rows]})["embeddings"]
    for row, values in zip(rows, direct, strict=True):
        assert np.array_equal(vector(found[str(row["id"])]["vector"]), vector(values))


def test_pieces_of_documents_have_their_place(runner: Runner, store: Storage, tmp_path: Path) -> None:
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": "one two three four"}]))
    runner.run(format="parquet", chunk={"tokens": 8})
    found = sorted((row["id"], row["document"], row["start"], row["end"]) for row in table(store, tmp_path))
    assert found == [("a#0", "a", 0, 7), ("a#1", "a", 8, 13), ("a#2", "a", 14, 18)]


def test_a_part_without_a_row_has_no_file(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", b"\n\n")
    assert runner.run(format="parquet")["rows"] == {"in": 0, "out": 0, "refused": 0}
    assert store.keys("out/parts/") == []


def test_rows_of_parquet_are_embedded_in_order(runner: Runner, store: Storage, tmp_path: Path) -> None:
    query = """SELECT range AS "key", 'text ' || range AS "body", DATE '2026-01-01' AS day,
        CASE WHEN range = 7 THEN NULL ELSE range / 4.0 END AS share FROM range(5000)"""
    store.put("in/a.parquet", parquet(tmp_path, query))
    summary = runner.run(id_field="key", text_field="body", metadata_fields=["day", "share", "missing"])
    assert summary["rows"] == {"in": 5000, "out": 5000, "refused": 0}
    found = store.all_lines("out/parts/")
    assert [line["id"] for line in found] == [str(number) for number in range(5000)]
    assert found[7]["metadata"] == {"day": "2026-01-01"}
    assert found[8]["metadata"] == {"day": "2026-01-01", "share": 2.0}


def test_a_long_object_of_parquet_goes_on(
    runner: Runner, store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(
        "in/a.parquet", parquet(tmp_path, "SELECT range AS id, 'text ' || range AS text FROM range(5000)")
    )
    monkeypatch.setattr("lambda_app.bulk.write.MAX_FILE_VECTORS", 500)
    runner.make_late(monkeypatch, 5)
    assert runner.run()["rows"] == {"in": 5000, "out": 5000, "refused": 0}
    assert [line["id"] for line in store.all_lines("out/parts/")] == [str(number) for number in range(5000)]


def test_values_that_are_no_text(runner: Runner, store: Storage, tmp_path: Path) -> None:
    query = "SELECT 'a' AS id, 'one' AS text UNION ALL SELECT 'b', NULL UNION ALL SELECT NULL, 'three'"
    store.put("in/a.parquet", parquet(tmp_path, query))
    assert runner.run(tolerated_failure_percentage=70)["rows"] == {"in": 3, "out": 1, "refused": 2}
    assert [error["code"] for error in store.all_lines("out/errors/errors-")] == ["missing_field"] * 2
    assert [error["row"] for error in store.all_lines("out/errors/errors-")] == [1, 2]


def test_what_is_not_parquet(runner: Runner, store: Storage) -> None:
    store.put("in/a.parquet", b"PAR1 no")
    fields = job()
    (part,) = runner.plan(fields)
    response = runner.call({"action": "embed_object", "job": fields, "part": part})
    assert response["error"]["code"] == "object_unreadable"


PROBE = """
import json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)

BLOCKED = set(sys.argv[1].split(","))
sys.meta_path.insert(0, Missing())
from tests.support.fakes import fake_dispatcher
handler = fake_dispatcher()
assert not {"boto3", "duckdb", "fsspec"} & sys.modules.keys()
try:
    handler(json.loads(sys.argv[2]), None)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("boto3", "bulk jobs need boto3"),
        ("duckdb", "Parquet needs DuckDB"),
        ("fsspec", "Parquet needs DuckDB"),
    ],
)
def test_an_image_without_the_extra_says_how_to_build_one(store: Storage, missing: str, said: str) -> None:
    store.put("in/a.jsonl", jsonl([{"id": "a", "text": "t"}]))
    event = json.dumps(
        {"action": "embed_object", "source": "s3://texts/in/a.jsonl", "output": OUTPUT, "format": "parquet"}
    )
    done = subprocess.run(
        [sys.executable, "-c", PROBE, missing, event], capture_output=True, text=True, check=True, timeout=60
    )
    last = done.stdout.strip().split("\n")[-1]
    assert last.startswith("ConfigurationError")
    assert said in last
    assert "EXTRAS=bulk" in last
    assert store.keys("", OUT) == []


# Ranges of large objects


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The ranges that were asked of S3."""
    found: list[tuple[int, int]] = []
    read_range = s3.read_range

    def counted(stored: s3.StoredObject, start: int, stop: int) -> bytes:
        found.append((start, stop))
        return read_range(stored, start, stop)

    monkeypatch.setattr(s3, "read_range", counted)
    monkeypatch.setattr(s3, "BLOCK_BYTES", 16_384)
    return found


def test_only_groups_of_rows_and_columns_that_are_needed_are_fetched(
    runner: Runner, store: Storage, tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    query = """SELECT range AS id, 'text ' || range AS text,
        md5(range::VARCHAR) || md5((range + 1)::VARCHAR) AS other FROM range(40960)"""
    content = parquet(tmp_path, query)
    store.put("in/a.parquet", content)
    fields = job()
    (part,) = runner.plan(fields)
    # Goes on with the last two groups of rows.
    place = {"segment": 5, "position": 20 * 2048 - 4_096, "line": 0}
    response = runner.call({"action": "embed_object", "job": fields, "part": part, "continue": place})
    assert response["rows"] == 4_096
    fetched = {block for start, stop in reads for block in range(start // 16_384, -(-stop // 16_384))}
    assert len(content) > 20 * 16_384 * 4
    assert len(fetched) * 16_384 < len(content) / 5
    # The block cache: hardly anything is fetched twice.
    assert sum(stop - start for start, stop in reads) < len(content) / 4
    ids = [line["id"] for line in store.all_lines("out/parts/")]
    assert ids == [str(number) for number in range(40_960 - 4_096, 40_960)]


def test_nothing_is_copied_to_the_temporary_directory(
    runner: Runner, store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import tempfile

    store.put("in/a.parquet", parquet(tmp_path, "SELECT range AS id, 'text' AS text FROM range(3000)"))
    empty = tmp_path / "tmp"
    empty.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(empty))
    read_range, seen = s3.read_range, []

    def looking(stored: s3.StoredObject, start: int, stop: int) -> bytes:
        seen.append(sum(path.stat().st_size for path in empty.rglob("*") if path.is_file()))
        return read_range(stored, start, stop)

    monkeypatch.setattr(s3, "read_range", looking)
    assert runner.run()["rows"]["out"] == 3_000
    assert seen
    assert max(seen) == 0


@pytest.mark.parametrize("change", ["overwrite", "delete"])
def test_an_object_that_changes_while_it_is_read(
    runner: Runner, store: Storage, tmp_path: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = parquet(tmp_path, "SELECT range AS id, md5(range::VARCHAR) AS text FROM range(8192)")
    store.put("in/a.parquet", content)
    fields = job()
    (part,) = runner.plan(fields)
    monkeypatch.setattr(s3, "BLOCK_BYTES", 16_384)
    read_range, calls = s3.read_range, [0]

    def changing(stored: s3.StoredObject, start: int, stop: int) -> bytes:
        calls[0] += 1
        if calls[0] == 6:
            if change == "delete":
                store.delete("in/a.parquet", "texts")
            else:
                store.put("in/a.parquet", content[:-1] + b"x")
        return read_range(stored, start, stop)

    monkeypatch.setattr(s3, "read_range", changing)
    response = runner.call({"action": "embed_object", "job": fields, "part": part})
    expected = {"delete": "object_not_found", "overwrite": "object_changed"}[change]
    assert response["error"]["code"] == expected


def test_groups_of_rows_that_do_not_fit_into_memory(
    runner: Runner, store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "in.parquet"
    with duckdb.connect() as made:
        made.execute(
            f"""COPY (SELECT range AS id, repeat(md5(range::VARCHAR), 100) AS text FROM range(20000))
            TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 20480)"""
        )
    store.put("in/a.parquet", path.read_bytes())
    monkeypatch.setattr(database, "MEMORY_SHARE", 0.0)
    monkeypatch.setattr(database, "MIN_MEMORY_MB", 20)
    fields = job()
    (part,) = runner.plan(fields)
    error = runner.call({"action": "embed_object", "job": fields, "part": part})["error"]
    assert error["code"] == "object_unreadable"
    assert "memory" in error["message"]


def test_columns_of_every_type(runner: Runner, store: Storage, tmp_path: Path) -> None:
    query = """SELECT uuid '00000000-0000-0000-0000-000000000001' AS id, 'one'::BLOB AS text,
        [1, 2] AS list, {'a': 1, 'b': ['x']} AS struct, MAP {'k': 'v'} AS map,
        'red'::ENUM('red') AS dictionary, 1.50::DECIMAL(5, 2) AS decimal, 'nan'::DOUBLE AS nan,
        ['inf'::FLOAT, 1] AS floats,
        TIMESTAMPTZ '2026-01-01 00:00:00+00' AS moment, DATE '2026-01-02' AS day, 'bytes'::BLOB AS bytes,
        170141183460469231731687303715884105727::HUGEINT AS large"""
    store.put("in/a.parquet", parquet(tmp_path, query))
    names = [
        "list",
        "struct",
        "map",
        "dictionary",
        "decimal",
        "nan",
        "floats",
        "moment",
        "day",
        "bytes",
        "large",
    ]
    runner.run(metadata_fields=names)
    (line,) = store.all_lines("out/parts/")
    assert line["id"] == "00000000-0000-0000-0000-000000000001"
    metadata = line["metadata"]
    assert metadata.pop("large") == pytest.approx(1.7e38, rel=0.01)
    assert metadata == {
        "list": [1, 2],
        "struct": {"a": 1, "b": ["x"]},
        "map": {"k": "v"},
        "dictionary": "red",
        "decimal": 1.5,
        "floats": [None, 1.0],
        "moment": "2026-01-01 00:00:00+00:00",
        "day": "2026-01-02",
        "bytes": "bytes",
    }
    # What is not text by its type is refused row by row, and so are bytes that are no text.
    query = "SELECT 1 AS id, '\\xFF'::BLOB AS text UNION ALL SELECT 2, NULL UNION ALL SELECT 3, 'good'::BLOB"
    store.put("in/a.parquet", parquet(tmp_path, query))
    runner.run(tolerated_failure_percentage=70)
    codes = [error["code"] for error in store.all_lines("out/errors/errors-")]
    assert codes == ["invalid_text", "missing_field"]
    for column in ("5 AS text", "['t'] AS text", "{'a': 't'} AS text"):
        store.put("in/a.parquet", parquet(tmp_path, f"SELECT 1 AS id, {column}"))
        runner.run(tolerated_failure_percentage=100)
        assert [error["code"] for error in store.all_lines("out/errors/errors-")] == ["invalid_field"]


def test_a_column_that_has_the_name_of_duckdbs_own(runner: Runner, store: Storage, tmp_path: Path) -> None:
    query = "SELECT range AS id, 'text' AS text, 7 AS file_row_number FROM range(5)"
    store.put("in/a.parquet", parquet(tmp_path, query))
    runner.run(metadata_fields=["file_row_number"])
    found = [(line["id"], line["metadata"]) for line in store.all_lines("out/parts/")]
    assert found == [(str(number), {"file_row_number": 7}) for number in range(5)]


def test_metadata_of_parquet_goes_to_an_index(runner: Runner, store: Storage, tmp_path: Path) -> None:
    query = """SELECT 'a' AS id, 't' AS text, DATE '2026-01-02' AS day, 1.5::DECIMAL(3, 1) AS share,
        {'x': 1} AS struct"""
    store.put("in/a.parquet", parquet(tmp_path, query))
    runner.run(output=store.index("texts", 4), work=OUTPUT, metadata_fields=["day", "share", "struct"])
    assert store.indexed("texts")["a"]["metadata"] == {
        "day": "2026-01-02",
        "share": 1.5,
        "struct": '{"x": 1}',
    }


class Functions:
    """Lambda's client, of a function that counts a token for each text."""

    def invoke(self, **request: Any) -> dict[str, Any]:
        texts = json.loads(request["Payload"])["texts"]
        return {"Payload": io.BytesIO(json.dumps({"usage": {"tokens": len(texts)}}).encode())}


def test_an_estimate_reads_the_beginning_of_an_object_and_how_many_rows_it_has(
    runner: Runner, store: Storage, tmp_path: Path, reads: list[tuple[int, int]]
) -> None:
    # Several times what DuckDB has ready before it is asked for.
    text = " || ".join(f"md5('{number}' || range)" for number in range(8))
    content = parquet(tmp_path, f"SELECT range AS id, {text} AS text FROM range(40960)")
    store.put("in/a.parquet", content)
    # What only begins like the source is not of it.
    store.put("input/b.parquet", content)
    found = estimate(Functions(), "name", job(), memory_mb=1_769, architecture="x86_64", concurrency=10)
    assert (found.objects, found.rows, found.tokens, found.parts) == (1, 40_960, 40_960, 1)
    assert sum(stop - start for start, stop in reads) < len(content) * 2 / 3
