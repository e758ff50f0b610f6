"""text-embeddings-inference's routes: bare lists, truncation, sentences, tokens, and its own errors."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lambda_app.errors import ModelUnavailableError
from lambda_app.limits import Limits
from tests.support.api_calls import DISPATCHER, DOCUMENTS, LONG, ORDER, RERANK, ask, vector
from tests.support.fakes import (
    Context,
    FakeReranker,
    fake_dispatcher,
    http_v2,
)


@pytest.mark.parametrize("path", ["/", "/embed"])
@pytest.mark.parametrize(
    ("fields", "input_type"),
    [({}, "none"), ({"prompt_name": "query"}, "query"), ({"prompt_name": "passage"}, "passage")],
)
def test_tei_embeds_bare_lists(path: str, fields: dict[str, Any], input_type: str) -> None:
    assert ask(path, {"inputs": "text", **fields}) == [vector("text", input_type)]
    assert ask(path, {"inputs": ["text", "b"], **fields})[1] == vector("b", input_type)


@pytest.mark.parametrize(
    ("direction", "side"), [("Left", "left"), ("left", "left"), ("right", "right"), (None, "right")]
)
def test_teis_truncation(direction: str | None, side: str) -> None:
    body = {"inputs": [LONG], "truncate": True, "truncation_direction": direction, "normalize": False}
    ask("/embed", body)
    assert DISPATCHER._service.registry.embedder.asked["truncation_side"] == side  # type: ignore[attr-defined]
    ask("/embed", {"inputs": [LONG]})
    error = ask("/embed", {"inputs": [LONG], "truncate": False}, 413)
    assert (error["error_type"], error["code"]) == ("Validation", "limit_exceeded")


def test_tei_reranks_bare_lists() -> None:
    body = {"query": "abc", "texts": DOCUMENTS}
    answer = ask("/rerank", body)
    assert [rank["index"] for rank in answer] == ORDER
    assert all(rank.keys() == {"index", "score"} for rank in answer)
    assert ask("/rerank", {**body, "raw_scores": True})[0]["score"] == 2.0
    assert ask("/rerank", {**body, "return_text": True})[0]["text"] == "abc"


@pytest.mark.parametrize("path", ["/", "/similarity"])
def test_tei_compares_sentences(path: str) -> None:
    inputs = {"source_sentence": "abc", "sentences": ["abc", "longer text"]}
    same, other = ask(path, {"inputs": inputs, "parameters": {"prompt_name": "query", "truncate": True}})
    assert same == pytest.approx(1)
    expected = np.dot(vector("abc", "query"), vector("longer text", "query"))
    assert other == pytest.approx(float(expected), abs=1e-6)
    assert ask(path, {"inputs": inputs, "parameters": None, "options": {"wait_for_model": True}})


def test_tei_tokenizes() -> None:
    [tokens] = ask("/tokenize", {"inputs": "ab"})
    assert tokens[0] == {"id": 0, "text": "[CLS]", "special": True, "start": None, "stop": None}
    assert [token["text"] for token in tokens[1:]] == ["a", "b"]
    plain = ask("/tokenize", {"inputs": ["ab", "c"], "add_special_tokens": False})
    assert [len(tokens) for tokens in plain] == [2, 1]
    small = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=2_000))
    assert ask("/tokenize", {"inputs": ["x" * 100]}, 413, small)["code"] == "response_too_large"


@pytest.mark.parametrize(
    ("body", "status", "error_type", "code"),
    [
        ("{", 400, "Validation", "invalid_json"),
        ({}, 422, "Validation", "missing_field"),
        ({"inputs": []}, 400, "Empty", "invalid_field"),
        ({"inputs": ""}, 422, "Tokenizer", "invalid_text"),
        ({"inputs": [[1, 2]]}, 422, "Validation", "invalid_field"),
        ({"inputs": [1, 2]}, 422, "Validation", "invalid_field"),
        ({"inputs": "a", "normalize": "no"}, 422, "Validation", "invalid_field"),
        ({"inputs": ["a"] * 3_000}, 413, "Validation", "limit_exceeded"),
    ],
)
def test_teis_statuses_and_error_types(body: Any, status: int, error_type: str, code: str) -> None:
    for path in ("/", "/embed"):
        error = ask(path, body, status)
        assert error.keys() == {"error", "error_type", "code", "param"}
        assert (error["error_type"], error["code"]) == (error_type, code)


def test_a_model_that_is_not_served_is_a_failed_dependency_to_teis_clients() -> None:
    class Alone(FakeReranker):
        def score(self, query: Any, documents: Any, **options: Any) -> Any:
            raise ModelUnavailableError("this function serves no reranker")

    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.reranker = Alone()  # type: ignore[misc,assignment]
    error = ask("/rerank", {"query": "a", "texts": ["b"]}, 424, dispatcher)
    assert (error["error_type"], error["code"]) == ("Backend", "model_unavailable")
    assert ask("/v2/rerank", RERANK, 404, dispatcher)["code"] == "model_unavailable"


def test_deadlines_in_teis_form() -> None:
    answer = DISPATCHER(http_v2("/embed", {"inputs": "a"}), Context(seconds=0.1))
    assert answer["statusCode"] == 504
    assert answer["headers"]["retry-after"] == "1"
    assert json.loads(answer["body"])["error_type"] == "Overloaded"


def test_rerank_takes_documents_in_place_of_texts() -> None:
    expected = ask("/v1/rerank", RERANK)
    for path in ("/rerank", "/reranking", "/v1/reranking"):
        assert ask(path, RERANK) == expected
    assert ask("/rerank", {**RERANK, "texts": None, "top_n": 1}) == ask("/v1/rerank", {**RERANK, "top_n": 1})
    assert [rank["index"] for rank in ask("/rerank", {"query": "abc", "texts": DOCUMENTS})] == ORDER
    assert ask("/models") == ask("/v1/models")
