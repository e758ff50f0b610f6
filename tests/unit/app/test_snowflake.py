"""Snowflake's external functions: numbered rows in and out, a checksum, and mistakes that name the row."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.limits import Limits
from scripts.paths import ROOT
from tests.support.fakes import Context, fake_dispatcher, http_v2
from tests.support.json_values import JSON_VALUES

DISPATCHER: Any = fake_dispatcher({"LOG_LEVEL": "ERROR"})
BATCH = "01b02bdf-0001-7b58-0003-27d60056b5a6:1:1:0:0"
HEADERS = {
    "content-type": "application/json",
    "user-agent": "snowflake/1.0",
    "sf-external-function-format": "json",
    "sf-external-function-format-version": "1.0",
    "sf-external-function-current-query-id": "01b02bdf-0001-7b58-0003-27d60056b5a6",
    "sf-external-function-query-batch-id": BATCH,
}


def send(route: str, rows: Any, dispatcher: Any = DISPATCHER, seconds: float = 30.0) -> dict[str, Any]:
    event = http_v2(f"/snowflake/{route}", {"data": rows}, headers=HEADERS)
    answer: dict[str, Any] = dispatcher(event, Context(seconds=seconds))
    return answer


def ask(route: str, rows: Any, dispatcher: Any = DISPATCHER) -> list[Any]:
    """The rows of an answer, read as Snowflake does: status, checksum, one pair for each row's number."""
    answer = send(route, rows, dispatcher)
    assert answer["statusCode"] == 200, answer["body"]
    body = answer["body"].encode("utf-8")
    assert base64.b64decode(answer["headers"]["content-md5"]) == hashlib.md5(body).digest()
    read = json.loads(body)
    assert read.keys() == {"data"}
    assert [row[0] for row in read["data"]] == [row[0] for row in rows]
    return [result for _, result in read["data"]]


def refused(route: str, rows: Any, status: int = 400, **options: Any) -> dict[str, Any]:
    answer = send(route, rows, **options)
    assert answer["statusCode"] == status, answer["body"]
    error: dict[str, Any] = json.loads(answer["body"])["error"]
    assert "SECRET" not in answer["body"]
    return error


def vector(text: str, input_type: str) -> Any:
    direct = {"action": "embed", "texts": [text], "input_type": input_type}
    return DISPATCHER(direct, Context())["embeddings"][0]


def test_each_row_has_its_input_type() -> None:
    rows: list[list[Any]] = [
        [0, "ab", "query"],
        [1, None, "query"],
        [2, "ab", "passage"],
        [3, "ab"],
        [4, "é", None],
    ]
    results = ask("embed", rows)
    passage = vector("ab", "passage")
    assert results == [vector("ab", "query"), None, passage, passage, vector("é", "passage")]


def test_scores_equal_those_of_a_direct_call() -> None:
    rows: list[list[Any]] = [
        [0, "abc", "xa"],
        [1, "zz", "zz"],
        [2, "abc", "abc"],
        [3, None, "a"],
        [4, "abc", None],
    ]
    results = ask("rerank", rows)
    assert results[3:] == [None, None]
    for (_, query, document), score in zip(rows[:3], results, strict=False):
        direct = {"action": "rerank", "query": query, "documents": [document]}
        assert score == DISPATCHER(direct, Context())["results"][0]["score"]


@pytest.mark.parametrize("route", ["embed", "rerank"])
def test_a_batch_without_rows_has_no_results(route: str) -> None:
    assert ask(route, []) == []


def test_numbers_of_rows_come_back_as_they_are() -> None:
    assert len(ask("embed", [[7, "a"], [3, "b"], [7_000_000_000, "c"]])) == 3


def test_the_same_batch_again_has_the_same_answer_and_its_id() -> None:
    first, second = (send("embed", [[0, "ab"], [1, None]]) for _ in range(2))
    assert first == second
    assert first["headers"]["sf-external-function-query-batch-id"] == BATCH
    failed = send("embed", [[0, ""]])
    assert failed["headers"]["sf-external-function-query-batch-id"] == BATCH
    body = failed["body"].encode("utf-8")
    assert base64.b64decode(failed["headers"]["content-md5"]) == hashlib.md5(body).digest()


def test_other_routes_have_no_checksum() -> None:
    answer = DISPATCHER(http_v2("/v1/embeddings", {"input": "a"}, headers=HEADERS), Context())
    assert answer["statusCode"] == 200
    assert not {"content-md5", "sf-external-function-query-batch-id"} & answer["headers"].keys()


@pytest.mark.parametrize(
    ("route", "rows", "code", "param"),
    [
        ("embed", [[0, "a"], [1, ""]], "invalid_text", "data[1][1]"),
        ("embed", [[0, None], [1, "SECRET\0"]], "invalid_text", "data[1][1]"),
        ("embed", [[0, "a"], [1, 7]], "invalid_field", "data[1][1]"),
        ("embed", [[0, "a", "SECRET"]], "invalid_field", "data[0][2]"),
        ("embed", [[0, None, ["SECRET"]]], "invalid_field", "data[0][2]"),
        ("embed", [["SECRET", "a"]], "invalid_field", "data[0][0]"),
        ("embed", [[True, "a"]], "invalid_field", "data[0][0]"),
        ("embed", [[0]], "invalid_field", "data[0]"),
        ("embed", [[0, "a", "query", "SECRET"]], "invalid_field", "data[0]"),
        ("embed", ["SECRET"], "invalid_field", "data[0]"),
        ("embed", {"SECRET": 1}, "invalid_field", "data"),
        ("embed", None, "missing_field", "data"),
        ("rerank", [[0, "a", "b"], [1, "a"]], "invalid_field", "data[1]"),
        ("rerank", [[0, "a", "b"], [1, "", "b"]], "invalid_text", "data[1][1]"),
        ("rerank", [[0, "a", "b"], [1, "a", 2]], "invalid_field", "data[1][2]"),
    ],
)
def test_a_mistake_names_the_row(route: str, rows: Any, code: str, param: str) -> None:
    error = refused(route, rows)
    assert (error["code"], error["param"]) == (code, param)


def test_too_many_rows_say_what_to_set() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(embed_texts=2))
    error = refused("embed", [[0, "a"], [1, "b"], [2, "c"]], 413, dispatcher=dispatcher)
    assert error["code"] == "limit_exceeded"
    assert "MAX_BATCH_ROWS of the SQL function to 2" in error["message"]
    assert len(ask("embed", [[0, "a"], [1, None], [2, "c"]], dispatcher)) == 3


def test_vectors_that_do_not_fit_say_what_to_set() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=2_000))
    error = refused("embed", [[index, "a"] for index in range(100)], 413, dispatcher=dispatcher)
    assert error["code"] == "response_too_large"
    assert "MAX_BATCH_ROWS" in error["message"]


def test_time_that_ran_out_is_a_status_that_snowflake_tries_again() -> None:
    assert refused("rerank", [[0, "a", "b"]], 504, seconds=0.1)["code"] == "deadline_exceeded"


def test_a_compressed_batch_is_unpacked() -> None:
    rows = [[0, "ab", "query"], [1, None, "query"]]
    event = http_v2("/snowflake/embed", "", headers={**HEADERS, "content-encoding": "gzip"})
    content = gzip.compress(json.dumps({"data": rows}).encode())
    event |= {"body": base64.b64encode(content).decode("ascii"), "isBase64Encoded": True}
    assert DISPATCHER(event, Context()) == send("embed", rows)


@pytest.mark.parametrize(("name", "kind"), [("embed", list), ("rerank", float)])
def test_the_sample_events_are_served(name: str, kind: type) -> None:
    event = json.loads((ROOT / "events" / f"snowflake-{name}.json").read_text(encoding="utf-8"))
    answer = DISPATCHER(event, Context())
    assert answer["statusCode"] == 200
    results = [result for _, result in json.loads(answer["body"])["data"]]
    assert [type(result) for result in results] == [kind, kind, type(None)]
    assert answer["multiValueHeaders"]["content-md5"]


@given(
    st.sampled_from(["embed", "rerank"]),
    st.lists(
        st.tuples(st.integers(), st.none() | st.text(max_size=3), JSON_VALUES | st.text(max_size=3)).map(list)
    ),
)
@settings(max_examples=200, deadline=None)
def test_any_rows_get_results_or_an_error(route: str, rows: list[Any]) -> None:
    answer = send(route, rows)
    read = json.loads(answer["body"])
    if answer["statusCode"] == 200:
        assert len(read["data"]) == len(rows)
    else:
        assert 400 <= answer["statusCode"] < 500
        # Infinity is not JSON.
        assert read["error"]["code"] == "invalid_json" or read["error"]["param"].startswith("data")
