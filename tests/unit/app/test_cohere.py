"""Reranking and embedding as Cohere's clients ask for them, and Jina's and Voyage's for reranking."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from lambda_app.api.providers.cohere.rerank import RerankV1Request
from lambda_app.errors import LimitError
from lambda_app.limits import Limits
from tests.support.api_calls import DISPATCHER, DOCUMENTS, LONG, ORDER, RERANK, ask, send, vector
from tests.support.fakes import (
    ERROR_BYTES,
    Context,
    fake_dispatcher,
)


def test_one_rerank_answer_for_three_readers() -> None:
    body = {**RERANK, "model": "rerank-v3.5", "return_documents": True, "max_chunks_per_doc": 10}
    answer = ask("/v1/rerank", body)
    assert [result["index"] for result in answer["results"]] == ORDER
    for result, voyages in zip(answer["results"], answer["data"], strict=True):
        assert 0 < result["relevance_score"] < 1
        assert result["document"] == {"text": DOCUMENTS[result["index"]]}
        # Voyage's service has the text itself.
        assert voyages == {
            "index": result["index"],
            "relevance_score": result["relevance_score"],
            "document": DOCUMENTS[result["index"]],
        }
    assert answer["object"] == "list"
    assert answer["id"] == "request-1"
    assert answer["usage"]["total_tokens"] == answer["meta"]["tokens"]["input_tokens"] > 0
    assert answer["meta"]["billed_units"] == {"search_units": 1}


@pytest.mark.parametrize("fields", [{"top_n": 2}, {"top_k": 2}, {"top_n": 2, "top_k": None}])
def test_the_best_few(fields: dict[str, Any]) -> None:
    answer = ask("/v1/rerank", {**RERANK, **fields})
    assert [result["index"] for result in answer["results"]] == ORDER[:2]
    assert len(answer["data"]) == 2


def test_rank_fields() -> None:
    documents = [{"title": "z", "text": "z"}, {"title": "ab", "text": "c", "id": "zz"}]
    body = {
        "query": "abc",
        "documents": documents,
        "rank_fields": ["title", "text"],
        "return_documents": True,
    }
    for path in ("/v1/rerank", "/v2/rerank", "/rerank"):
        answer = ask(path, body)
        assert answer["results"][0]["document"] == documents[1]
    assert ask("/v1/rerank", body)["data"][0]["document"] == "ab\nc"
    assert ask("/v1/rerank", body | {"documents": ["ab"]}, 400)["error"]["param"] == "documents"
    assert ask("/v1/rerank", body | {"documents": [{"title": 1}]}, 400)["error"]["param"] == "documents[0]"


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_come_back_as_they_were_sent(path: str) -> None:
    nested = {"text": "b", "id": 7, "tags": ["語", None, {"a": [1.5, True]}], "": ""}
    documents: list[Any] = ["abc", nested, {"text": "z"}]
    body = {"query": "abc", "documents": documents, "return_documents": True}
    answer = ask(path, body)
    assert [result["document"] for result in answer["results"]] == [{"text": "abc"}, nested, {"text": "z"}]
    assert ask(path, body | {"documents": "abc"})["results"][0]["document"] == {"text": "abc"}
    assert "document" not in ask(path, body | {"return_documents": False})["results"][0]
    if path != "/v2/rerank":
        assert [row["document"] for row in answer["data"]] == ["abc", "b", "z"]
        assert "document" not in ask(path, RERANK)["data"][0]


@pytest.mark.parametrize(
    "more",
    ['"n": 1e999', '"n": -1e999', '"s": "\\ud800"', '"\\ud800": 1', '"d": ' + "[" * 20_000 + "]" * 20_000],
)
def test_a_document_that_cannot_come_back_is_refused_before_inference(more: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    body = '{"query": "q", "documents": ["a", {"text": "b", %s}], "return_documents": %s}'
    answer = send("/v1/rerank", body % (more, "true"), dispatcher)
    assert answer["statusCode"] == 400
    assert dispatcher._service.registry.reranker.asked == {}  # type: ignore[attr-defined]
    if len(more) < ERROR_BYTES:
        assert json.loads(answer["body"])["error"]["param"] == "documents[1]"
        assert send("/v1/rerank", body % (more, "false"), dispatcher)["statusCode"] == 200


def test_a_rank_field_counts_once() -> None:
    body = {"query": "abc", "documents": [{"t": "ab"}], "return_documents": True}
    answer = ask("/v1/rerank", body | {"rank_fields": ["t"] * 1_000})
    assert answer["results"][0]["document"] == {"t": "ab"}
    assert answer["data"][0]["document"] == "ab"


def test_documents_that_are_too_long_together_are_not_joined() -> None:
    shared = "x" * 100_000
    names = [f"field{number}" for number in range(200)]
    documents = [dict.fromkeys(names, shared)] * 10
    tracemalloc.start()
    with pytest.raises(LimitError, match="documents holds 200000000 characters"):
        RerankV1Request({"query": "q", "documents": documents, "rank_fields": names}, Limits(), None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_000_000


def test_what_a_document_loses_is_in_the_answer() -> None:
    body = {"query": "q", "documents": ["a", LONG]}
    answer = ask("/v1/rerank", body)
    assert answer["truncated"] == [1]
    assert "documents 1 " in answer["meta"]["warnings"][0]
    assert "warnings" not in ask("/v1/rerank", {"query": "q", "documents": ["a"]})["meta"]
    error = ask("/v1/rerank", body | {"truncation": False}, 413)
    assert error["message"] == error["detail"] == error["error"]["message"]


def test_cohere_rerank_of_version_2() -> None:
    answer = ask("/v2/rerank", {**RERANK, "model": "rerank-v3.5", "top_n": 1, "max_tokens_per_doc": 3})
    assert answer.keys() == {"id", "results", "meta"}
    assert [result["index"] for result in answer["results"]] == ORDER[:1]
    assert DISPATCHER._service.registry.reranker.asked["max_document_tokens"] == 3  # type: ignore[attr-defined]
    direct = DISPATCHER({"action": "rerank", **RERANK}, Context())
    assert answer["results"][0]["relevance_score"] == direct["results"][0]["score"]


@pytest.mark.parametrize(
    ("input_type", "ours"),
    [
        ("search_query", "query"),
        ("search_document", "passage"),
        ("classification", "query"),
        ("clustering", "query"),
        (None, "passage"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_coheres_input_types(path: str, input_type: str | None, ours: str) -> None:
    body = {"texts": ["text"], "input_type": input_type, "embedding_types": ["float"]}
    assert ask(path, body)["embeddings"] == {"float": [vector("text", ours)]}


def test_version_1_has_two_kinds_of_answers() -> None:
    plain = ask("/v1/embed", {"texts": ["a", "bb"], "model": "embed-english-v3.0"})
    assert plain["response_type"] == "embeddings_floats"
    assert plain["embeddings"] == [vector("a", "passage"), vector("bb", "passage")]
    typed = ask("/v1/embed", {"texts": ["a", "bb"], "embedding_types": ["float", "int8"]})
    assert typed["response_type"] == "embeddings_by_type"
    assert typed["embeddings"].keys() == {"float", "int8"}
    assert typed["texts"] == plain["texts"] == ["a", "bb"]


def test_every_embedding_type() -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = ask("/v2/embed", {"texts": ["a"], "input_type": "search_query", "embedding_types": types})
    found = {name: rows[0] for name, rows in answer["embeddings"].items()}
    assert list(found) == types
    assert (
        np.frombuffer(base64.b64decode(found["base64"]), "<f4").tolist()
        == np.array(found["float"], "<f4").tolist()
    )
    assert [number + 128 for number in found["int8"]] == found["uint8"]
    assert [number + 128 for number in found["binary"]] == found["ubinary"] == [0b11100000]


def test_inputs_of_version_2() -> None:
    inputs = [{"content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]}]
    answer = ask("/v2/embed", {"inputs": inputs, "input_type": "search_document"})
    assert answer["texts"] == ["one\ntwo"]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    wrong: Any
    for wrong in ([{"content": [image]}], [{"content": []}], [{"content": "x"}], ["x"], "x"):
        body = {"inputs": wrong, "input_type": "search_document"}
        assert ask("/v2/embed", body, 400)["param"].startswith("inputs")
    body = {"images": ["data:image/png;base64,AA=="], "input_type": "image"}
    assert ask("/v2/embed", body, 400)


@pytest.mark.parametrize(("truncate", "side"), [("START", "left"), ("END", "right"), (None, "right")])
def test_coheres_truncation(truncate: str | None, side: str) -> None:
    body = {"texts": ["a", LONG], "truncate": truncate, "input_type": "search_query", "max_tokens": 9}
    answer = ask("/v2/embed", body)
    assert DISPATCHER._service.registry.embedder.asked == {  # type: ignore[attr-defined]
        "truncation_side": side,
        "max_tokens": 9,
    }
    assert "texts 1 " in answer["meta"]["warnings"][0]
    error = ask("/v2/embed", body | {"truncate": "NONE"}, 413)
    assert error["param"] == "texts[1]"


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/rerank", "documents"),
        ("/v2/rerank", "documents"),
        ("/rerank", "texts"),
        ("/rerank", "documents"),
    ],
)
def test_an_empty_document_is_ranked_last(path: str, field: str) -> None:
    answer = ask(path, {"query": "zq", field: ["", "doc ok", {"text": ""}], "return_documents": True})
    ranks = answer["results"] if isinstance(answer, dict) else answer
    assert [rank["index"] for rank in ranks] == [1, 0, 2]
    assert ranks[1].get("document", {"text": ""}) == {"text": ""}
    direct = DISPATCHER({"action": "rerank", "query": "q", "documents": ["", "doc ok"]}, Context())
    assert [result["index"] for result in direct["results"]] == [1, 0]


def test_a_document_without_any_rank_field_is_ranked_last() -> None:
    body = {"query": "abc", "documents": [{"id": 1}, {"t": "z"}], "rank_fields": ["t"]}
    assert [result["index"] for result in ask("/v2/rerank", body)["results"]] == [1, 0]
