"""Lambda UDFs of Redshift: a string of JSON with one result for each row, or one error that names the row."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.errors import LambdaAppError
from lambda_app.limits import Limits
from scripts.paths import ROOT
from tests.support.fakes import Context, FakeEmbedder, fake_dispatcher
from tests.support.json_values import JSON_VALUES

DISPATCHER: Any = fake_dispatcher({"LOG_LEVEL": "ERROR"})


def event(function: str, arguments: Any, **changes: Any) -> dict[str, Any]:
    """What Redshift sends, with the fields of its documentation."""
    return {
        "request_id": "23FF1F97-F28A-44AA-AB67-266ED976BF40",
        "cluster": "arn:aws:redshift:eu-west-1:123456789012:cluster:warehouse",
        "user": "analyst",
        "database": "dev",
        "external_function": function,
        "query_id": 5678234,
        "num_records": len(arguments) if isinstance(arguments, list) else 1,
        "arguments": arguments,
        **changes,
    }


def call(sent: Any, dispatcher: Any = DISPATCHER, seconds: float = 30.0) -> dict[str, Any]:
    response = dispatcher(sent, Context(seconds=seconds))
    assert isinstance(response, str), "Redshift reads a string of JSON"
    read: dict[str, Any] = json.loads(response)
    return read


def refused(sent: Any, dispatcher: Any = DISPATCHER, **options: Any) -> str:
    read = call(sent, dispatcher, **options)
    assert (set(read), read["success"]) == ({"success", "error_msg"}, False)
    message: str = read["error_msg"]
    return message


def vector(text: str, input_type: str) -> Any:
    return DISPATCHER({"action": "embed", "texts": [text], "input_type": input_type}, Context())[
        "embeddings"
    ][0]


@pytest.mark.parametrize(
    "name", ["embed_query", "public.embed_query", "f_embed_query", 'my."f_embed_query"', "public.EMBED_QUERY"]
)
def test_the_name_chooses_the_function(name: str) -> None:
    read = call(event(name, [["ab"], [None], ["é"]]))
    assert (read["success"], read["num_records"]) == (True, 3)
    first, second, third = read["results"]
    assert json.loads(first) == vector("ab", "query")
    assert second is None
    assert json.loads(third) == vector("é", "query")
    assert " " not in first


def test_passages_have_their_own_function() -> None:
    (result,) = call(event("embed_passage", [["ab"]]))["results"]
    assert json.loads(result) == vector("ab", "passage") != vector("ab", "query")


def test_scores_equal_those_of_a_direct_call_whatever_the_order_of_queries() -> None:
    pairs: list[list[Any]] = [
        ["abc", "xa"],
        ["zz", "zz"],
        ["abc", "abc"],
        [None, "a"],
        ["abc", None],
        ["zz", "a"],
    ]
    read = call(event("rerank_score", pairs))
    for pair, score in zip(pairs, read["results"], strict=True):
        if None in pair:
            assert score is None
        else:
            direct = {"action": "rerank", "query": pair[0], "documents": [pair[1]]}
            assert score == DISPATCHER(direct, Context())["results"][0]["score"]


def test_more_documents_than_one_request_takes_are_scored() -> None:
    dispatcher = fake_dispatcher(
        {"LOG_LEVEL": "ERROR"}, limits=Limits(rerank_documents=3, total_characters=20)
    )
    rows = [["abc", "abc"[: 1 + row % 3] * 2] for row in range(20)]
    results = call(event("rerank_score", rows), dispatcher)["results"]
    assert results == call(event("rerank_score", rows))["results"]


@pytest.mark.parametrize("arguments", [[], [[None]], [[None], [None]]])
def test_a_batch_without_texts_uses_no_model(arguments: list[Any]) -> None:
    read = call(event("embed_query", arguments))
    assert read == {"success": True, "num_records": len(arguments), "results": [None] * len(arguments)}


@pytest.mark.parametrize(
    ("function", "arguments", "code", "where"),
    [
        ("embed_query", [["a"], [""]], "invalid_text", "arguments[1][0]"),
        ("embed_query", [["a"], [None], ["SECRET\0"]], "invalid_text", "arguments[2][0]"),
        ("embed_query", [["SECRET\ud800"]], "invalid_text", "arguments[0][0]"),
        ("embed_query", [["a"], [7]], "invalid_field", "arguments[1][0]"),
        ("embed_query", [["a"], ["b", "c"]], "invalid_field", "arguments[1]"),
        ("embed_query", [["a"], "SECRET"], "invalid_field", "arguments[1]"),
        ("embed_query", [[]], "invalid_field", "arguments[0]"),
        ("embed_query", "SECRET", "invalid_field", "arguments"),
        ("rerank_score", [["a", "b"], ["", "q"]], "invalid_text", "arguments[1][0]"),
        ("rerank_score", [["a", "b"], ["q", True]], "invalid_field", "arguments[1][1]"),
        ("rerank_score", [["a"]], "invalid_field", "arguments[0]"),
        ("public.SECRET", [["a"]], "unknown_function", "embed_query"),
    ],
)
def test_a_mistake_names_the_row_and_never_its_text(
    function: str, arguments: Any, code: str, where: str
) -> None:
    message = refused(event(function, arguments))
    assert message.startswith(f"{code}: ")
    assert where in message
    assert "SECRET" not in message


class Tokenless(FakeEmbedder):
    """Finds no tokens in one text, as a tokenizer does in a zero-width character."""

    def embed(self, texts: Any, *arguments: Any, on_empty: Any = None, **options: Any) -> Any:
        if "\u200b" in texts:
            on_empty((texts.index("\u200b"),))
        return super().embed(texts, *arguments, **options)


def test_a_text_without_tokens_is_named_by_its_row() -> None:
    dispatcher: Any = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = Tokenless()
    message = refused(event("embed_query", [[None], ["a"], [None], ["\u200b"]]), dispatcher)
    assert message.startswith("invalid_text: arguments[3][0] has no tokens")


@pytest.mark.parametrize("count", [0, 1, 3, "2", True, -1])
def test_a_count_that_differs_is_refused(count: Any) -> None:
    assert "num_records" in refused(event("embed_query", [["a"], ["b"]], num_records=count))


@pytest.mark.parametrize("limits", [Limits(embed_texts=3), Limits(events=3)])
def test_too_many_rows_say_what_to_set(limits: Limits) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=limits)
    message = refused(event("embed_query", [["a"]] * 4), dispatcher)
    assert message.startswith("limit_exceeded: ")
    assert "MAX_BATCH_ROWS of the SQL function to 3" in message


@pytest.mark.parametrize("response_bytes", [2_000, 40])
def test_results_that_do_not_fit_say_how_many_do(response_bytes: int) -> None:
    limits = Limits(response_bytes=response_bytes)
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=limits)
    message = refused(event("embed_query", [["abc"]] * 100), dispatcher)
    assert message.startswith("response_too_large: ")
    fit = int(message.rpartition(" ")[2])
    if response_bytes > 100:
        response = dispatcher(event("embed_query", [["abc"]] * fit), Context())
        assert json.loads(response)["success"]
        assert len(json.dumps(response)) <= response_bytes


def test_a_result_is_measured_as_lambda_writes_it() -> None:
    sent = event("embed_query", [["abc"], [None], ["d"]])
    size = len(json.dumps(DISPATCHER(sent, Context())))
    for response_bytes, fits in ((size, True), (size - 1, False)):
        dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=response_bytes))
        assert call(sent, dispatcher)["success"] is fits


def test_time_that_ran_out_is_an_error_of_the_batch() -> None:
    assert refused(event("embed_query", [["a"]]), seconds=0.1).startswith("deadline_exceeded: ")
    assert refused(event("rerank_score", [["a", "b"]]), seconds=0.1).startswith("deadline_exceeded: ")


def test_a_model_that_is_not_served_is_an_error_of_the_batch() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "MODELS": "reranker"})
    assert refused(event("embed_query", [["a"]]), dispatcher).startswith("model_unavailable: ")


class Broken(FakeEmbedder):
    """Fails as a bug would."""

    def embed(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("SECRET")


def test_a_fault_of_ours_is_raised_so_that_redshift_calls_again() -> None:
    dispatcher: Any = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = Broken()
    with pytest.raises(LambdaAppError, match="internal error"):
        dispatcher(event("embed_query", [["a"]]), Context())


def test_the_log_line_names_the_source_and_the_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher()
    call(event("embed_query", [["a"], [None]]), dispatcher)
    call(event("embed_query", [[""]]), dispatcher)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["source"], line["outcome"], line["items"]) for line in lines] == [
        ("redshift", "ok", 1),
        ("redshift", "invalid_text", 0),
    ]


@pytest.mark.parametrize(("name", "kind"), [("embed", str), ("rerank", float)])
def test_the_sample_events_are_served(name: str, kind: type) -> None:
    sent = json.loads((ROOT / "events" / f"redshift-{name}.json").read_text(encoding="utf-8"))
    results = call(sent)["results"]
    assert len(results) == 3
    assert {type(result) for result in results} == {kind, type(None)}


@given(st.sampled_from(["embed_query", "rerank_score", "other"]), JSON_VALUES, JSON_VALUES)
@settings(max_examples=200, deadline=None)
def test_any_batch_gets_results_or_an_error(function: str, arguments: Any, count: Any) -> None:
    read = call(event(function, arguments, num_records=count))
    if read["success"]:
        assert len(read["results"]) == read["num_records"]
    else:
        assert len(read["error_msg"]) < 1_000
