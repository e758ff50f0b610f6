"""Documents in pieces: all pieces of one are in the output, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from lambda_app.bulk import s3vectors
from lambda_app.errors import TextError
from tests.support.bulk_jobs import OUTPUT, Runner, jsonl
from tests.support.bulk_storage import Storage
from tests.support.fakes import fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

DOCUMENTS = [
    {"id": "a", "text": "one two three four"},
    {"id": "b", "text": "five six refused seven eight"},
    {"id": "c", "text": "nine"},
]
FIELDS: dict[str, Any] = {"chunk": {"tokens": 8}, "tolerated_failure_percentage": 50}


@pytest.fixture
def runner(store: Storage, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """The model refuses one text, whichever others it comes with."""
    made = Runner(fake_dispatcher(), store)
    service = made.handler._service
    embed = service.embed

    def refusing(request: Any, invocation: Any) -> Any:
        if "refused" in request.texts:
            raise TextError("the model refuses the text")
        return embed(request, invocation)

    monkeypatch.setattr(service, "embed", refusing)
    store.put("in/a.jsonl", jsonl(DOCUMENTS))
    return made


PIECES = ["a#0", "a#1", "a#2", "c#0"]


def test_a_piece_that_is_refused_takes_its_document_with_it(
    runner: Runner, store: Storage, tmp_path: Path
) -> None:
    summary = runner.run(**FIELDS)
    assert summary["rows"] == {"in": 3, "out": 2, "refused": 1}
    assert summary["vectors"] == len(PIECES)
    assert [line["id"] for line in store.all_lines("out/parts/")] == PIECES
    (error,) = store.all_lines("out/errors/errors-")
    assert (error["id"], error["line"], error["code"]) == ("b", 2, "invalid_text")
    runner.run(**FIELDS, format="parquet")
    path = tmp_path / "part.parquet"
    path.write_bytes(store.get("out/parts/part-000000-0000.parquet"))
    found = duckdb.sql(f"SELECT id FROM '{path}'").fetchall()
    assert [name for (name,) in found] == PIECES


def test_nothing_of_it_is_in_an_index(runner: Runner, store: Storage) -> None:
    summary = runner.run(output=store.index("texts", 4), work=OUTPUT, **FIELDS)
    assert summary["rows"] == {"in": 3, "out": 2, "refused": 1}
    assert sorted(store.indexed("texts")) == PIECES


def test_what_an_index_took_of_a_document_before_it_refused_a_piece_is_deleted(
    runner: Runner, store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = s3vectors.VectorIndex._put

    def picky(index: Any, batch: Any) -> Any:
        good = [each for each in batch if each[1]["key"] != "a#2"]
        refused = [
            s3vectors.Refused(place, "vector_refused", "no") for place, one in batch if one["key"] == "a#2"
        ]
        return put(index, good) + refused

    monkeypatch.setattr(s3vectors.VectorIndex, "_put", picky)
    summary = runner.run(
        output=store.index("texts", 4), work=OUTPUT, **FIELDS | {"tolerated_failure_percentage": 70}
    )
    assert summary["rows"] == {"in": 3, "out": 1, "refused": 2}
    assert summary["vectors"] == 1
    assert sorted(store.indexed("texts")) == ["c#0"]
    codes = [(error["id"], error["code"]) for error in store.all_lines("out/errors/errors-")]
    assert codes == [("a", "vector_refused"), ("b", "invalid_text")]


def test_a_group_of_which_all_is_refused(runner: Runner, store: Storage) -> None:
    store.put("in/a.jsonl", jsonl(DOCUMENTS[1:2]))
    summary = runner.run(**FIELDS | {"tolerated_failure_percentage": 100})
    assert summary["rows"] == {"in": 1, "out": 0, "refused": 1}
    assert store.keys("out/parts/") == []
