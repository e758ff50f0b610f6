"""The client APIs over one service: what each one's clients send, read, and get when it is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import numpy as np
import pytest

from lambda_app import __version__
from lambda_app.api.http.error_responses import FORMATS
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.api.providers.cohere.rerank import RerankV1Request
from lambda_app.api.routes import POSTS
from lambda_app.dispatch import Dispatcher
from lambda_app.errors import InferenceError, LimitError, ModelUnavailableError
from lambda_app.limits import Limits
from tests.support.fakes import (
    ERROR_BYTES,
    Context,
    FakeEmbedder,
    FakeReranker,
    fake_dispatcher,
    http_v2,
    model_info,
)

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
LONG = "x" * 20  # the fake models read 16 characters
DOCUMENTS = ["xa", "abc", "zz", "ab"]
RERANK = {"query": "abc", "documents": DOCUMENTS}
ORDER = [1, 3, 0, 2]


def send(path: str, body: Any = None, dispatcher: Dispatcher = DISPATCHER, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = dispatcher(http_v2(path, body, **options), Context())
    return answer


def ask(path: str, body: Any = None, status: int = 200, dispatcher: Dispatcher = DISPATCHER) -> Any:
    answer = send(path, body, dispatcher)
    assert answer["statusCode"] == status, answer["body"]
    return json.loads(answer["body"])


def vector(text: str, input_type: str) -> list[float]:
    """What direct invocation answers: every API has to agree with it."""
    answer = DISPATCHER({"action": "embed", "texts": [text], "input_type": input_type}, Context())
    found: list[float] = answer["embeddings"][0]
    return found


# OpenAI, Voyage and Jina: /v1/embeddings


@pytest.mark.parametrize(
    ("fields", "input_type"),
    [
        ({}, "passage"),
        ({"input_type": None}, "passage"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "document"}, "passage"),
        ({"input_type": "none"}, "none"),
        ({"model": "e5-base-v2:query"}, "query"),
        ({"model": "intfloat/e5-base-v2:passage"}, "passage"),
        ({"model": "e5-base-v2:none"}, "none"),
        ({"model": "text-embedding-3-small:latest"}, "passage"),
        ({"model": "e5:query", "input_type": "query"}, "query"),
        ({"task": "retrieval.query"}, "query"),
        ({"task": "retrieval.passage"}, "passage"),
        ({"task": "classification"}, "query"),
    ],
)
def test_input_types_over_openais_route(fields: dict[str, Any], input_type: str) -> None:
    answer = ask("/v1/embeddings", {"input": "text", **fields})
    assert answer["data"][0]["embedding"] == vector("text", input_type)
    assert answer["model"] == "test/embedding"


def test_two_fields_may_not_ask_for_different_input_types() -> None:
    body = {"input": "text", "model": "e5:query", "input_type": "document"}
    error = ask("/v1/embeddings", body, 400)["error"]
    assert error["param"] == "input_type"
    assert "input_type and model ask for different input types" in error["message"]


def test_voyages_fields() -> None:
    body = {"input": [LONG], "model": "voyage-3", "input_type": None, "truncation": True}
    body |= {"output_dtype": None, "output_dimension": None, "encoding_format": "base64"}
    answer = ask("/v1/embeddings", body)
    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert np.frombuffer(raw, "<f4").tolist() == np.array(vector(LONG, "passage"), "<f4").tolist()
    assert answer["truncated"] == [0]

    error = ask("/v1/embeddings", body | {"truncation": False}, 413)
    assert error["error"]["code"] == "limit_exceeded"
    assert error["detail"] == error["error"]["message"]
    assert ask("/v1/embeddings", body | {"output_dimension": 3}, 400)["error"]["param"] == "output_dimension"
    assert ask("/v1/embeddings", body | {"dimensions": 3}, 400)["error"]["param"] == "dimensions"
    for dtype in ("int8", "uint8", "binary", "ubinary"):
        answer = ask("/v1/embeddings", body | {"output_dtype": dtype})
        kind = np.dtype("int8" if dtype in {"int8", "binary"} else "uint8")
        numbers = ask("/v1/embeddings", body | {"output_dtype": dtype, "encoding_format": None})
        found = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), kind)
        assert found.tolist() == numbers["data"][0]["embedding"]


def test_jinas_fields() -> None:
    body = {"model": "jina-embeddings-v3", "input": [{"text": "one"}, "two"], "normalized": True}
    body |= {"late_chunking": False, "truncate": True, "dimensions": 4}
    for kind in ("embedding_type", "encoding_type"):
        assert isinstance(ask("/v1/embeddings", body | {kind: "float"})["data"][1]["embedding"][0], float)
        assert isinstance(ask("/v1/embeddings", body | {kind: ["base64"]})["data"][0]["embedding"], str)
        assert len(ask("/v1/embeddings", body | {kind: "ubinary"})["data"][0]["embedding"]) == 1
        assert ask("/v1/embeddings", body | {kind: ["float", "base64"]}, 400)["error"]["param"] == kind
    for change in ({"late_chunking": True}, {"normalized": False}, {"task": "code.query"}):
        assert ask("/v1/embeddings", body | change, 400)["error"]["param"] == next(iter(change))
    assert ask("/v1/embeddings", body | {"truncate": False, "input": [LONG]}, 413)


@pytest.mark.parametrize(("word", "side"), [("START", "left"), ("END", "right"), ("NONE", None)])
def test_nvidias_words_for_truncation(word: str, side: str | None) -> None:
    embedder = DISPATCHER._service.registry.embedder
    ask("/v1/embeddings", {"input": [LONG], "truncate": word}, 200 if side else 413)
    if side:
        assert isinstance(embedder, FakeEmbedder)
        assert embedder.asked["truncation_side"] == side


def test_models_and_their_aliases() -> None:
    listed = ask("/v1/models")
    names = [entry["id"] for entry in listed["data"]]
    assert names == ["test/embedding", "test/reranker", "test/embedding:query", "test/embedding:passage"]
    for entry in listed["data"]:
        assert entry.keys() == {"id", "object", "created", "owned_by"}
        assert ask(f"/v1/models/{entry['id']}") == entry
    error = ask("/v1/models/gpt-4o", status=404)["error"]
    assert (error["code"], error["param"]) == ("not_found", "model")


# Cohere, Jina and Voyage: reranking


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


# Cohere: embedding


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


# text-embeddings-inference


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


def test_info_for_teis_readers_and_ours() -> None:
    info = ask("/info")
    assert info["model_id"] == "test/embedding"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_client_batch_size"] == info["limits"]["embed_texts"]
    assert info["version"] == __version__
    assert info["models"].keys() == {"embedding", "reranker"}


@pytest.mark.parametrize("rerank_kind", ["cross-encoder", "bi-encoder"])
def test_info_names_the_task_that_is_served(rerank_kind: Any) -> None:
    """Readers of TEI's response, such as Dify, take the first key for the model's task."""
    for models, task in (
        ("reranker", "reranker"),
        ("embedding", "embedding"),
        ("embedding,reranker", "embedding"),
    ):
        settings = {"LOG_LEVEL": "ERROR", "MODELS": models}
        info = ask("/info", dispatcher=fake_dispatcher(settings, rerank_kind=rerank_kind))
        assert list(info["model_type"]) == [task]


# Errors


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


@pytest.mark.parametrize("post", POSTS, ids=lambda post: post.path)
def test_every_familys_errors_in_its_own_form(post: Any) -> None:
    """Mistakes, a wrong method and a body that cannot be decoded: one form for each route."""
    form = {
        "openai": {"error"},
        "embeddings": {"error", "detail"},
        "rerank": {"id", "message", "detail", "error"},
        "cohere": {"id", "message", "code", "param"},
        "tei": {"error", "error_type", "code", "param"},
    }[post.errors]
    answers = [
        send(post.path, "[]"),
        send(post.path, method="DELETE"),
        DISPATCHER(http_v2(post.path, "!") | {"isBase64Encoded": True}, Context()),
        DISPATCHER(http_v2(post.path, {"inputs": "a"}) | {"body": {"a": 1}}, Context()),
    ]
    assert answers[1]["statusCode"] == 405
    for answer in answers:
        assert 400 <= answer["statusCode"] < 500
        assert json.loads(answer["body"]).keys() == form
        assert answer["headers"]["x-request-id"] == "request-1"
        assert len(answer["body"]) < ERROR_BYTES
    assert post.errors in FORMATS


def test_faults_of_ours_are_in_the_familys_form() -> None:
    class Broken(FakeEmbedder):
        def embed(self, texts: Any, input_type: Any, **options: Any) -> Any:
            raise InferenceError(f"cannot handle {texts}")

    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = Broken(model_info("embedding"))  # type: ignore[misc,assignment]
    for path, body in (("/v2/embed", {"texts": ["SECRET"]}), ("/embed", {"inputs": "SECRET"})):
        answer = send(path, body, dispatcher)
        assert answer["statusCode"] == 500
        assert "inference_failed" in answer["body"]
        assert "SECRET" not in answer["body"]


def test_deadlines_in_teis_form() -> None:
    answer = DISPATCHER(http_v2("/embed", {"inputs": "a"}), Context(seconds=0.1))
    assert answer["statusCode"] == 504
    assert answer["headers"]["retry-after"] == "1"
    assert json.loads(answer["body"])["error_type"] == "Overloaded"


def test_unknown_routes_have_openais_form() -> None:
    assert ask("/v1/chat/completions", {}, 404)["error"]["code"] == "not_found"


@pytest.mark.parametrize("path", ["/health", "/info", "/v1/models"])
def test_head_has_no_body(path: str) -> None:
    answer = send(path, method="HEAD")
    assert answer["statusCode"] == 200
    assert answer["body"] == ""


# CORS

PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "POST"}
KEYS = {"API_KEYS_SHA256": "0" * 64}


def test_no_page_may_call_unless_it_is_named() -> None:
    answer = send("/v1/models", headers=PREFLIGHT)
    assert [name for name in answer["headers"] if name.startswith("access-control")] == []
    assert send("/v1/embeddings", method="OPTIONS", headers=PREFLIGHT)["statusCode"] == 405


@pytest.mark.parametrize("origins", ["*", "https://b.example, https://a.example"])
def test_named_pages_may_call(origins: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "CORS_ALLOW_ORIGINS": origins, **KEYS})
    asked = PREFLIGHT | {"access-control-request-headers": "authorization, content-type"}
    answer = send("/v1/embeddings", dispatcher=dispatcher, method="OPTIONS", headers=asked)
    allowed = "*" if origins == "*" else "https://a.example"
    assert answer["statusCode"] == 200
    assert answer["headers"]["access-control-allow-origin"] == allowed
    assert "authorization" in answer["headers"]["access-control-allow-headers"].lower()
    # What is refused before the application can be read too.
    answer = send("/v1/embeddings", {"input": "a"}, dispatcher, headers=PREFLIGHT)
    assert answer["statusCode"] == 401
    assert answer["headers"]["access-control-allow-origin"] == allowed
    # Without the header of a preflight, OPTIONS is a request like any other.
    assert send("/info", dispatcher=dispatcher, method="OPTIONS")["statusCode"] == 401


def test_other_pages_may_not() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "CORS_ALLOW_ORIGINS": "https://b.example", **KEYS})
    answer = send("/v1/embeddings", dispatcher=dispatcher, method="OPTIONS", headers=PREFLIGHT)
    assert answer["statusCode"] == 400
    assert "access-control-allow-origin" not in answer["headers"]
    answer = send("/v1/embeddings", {"input": "a"}, dispatcher, headers=PREFLIGHT)
    assert "access-control-allow-origin" not in answer["headers"]


# Numbers


def test_int8_keeps_the_order_of_neighbours() -> None:
    rng = np.random.default_rng(7)
    vectors = rng.standard_normal((200, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    quantized = np.array(encode_vectors(vectors, "int8"), dtype=np.float64)
    assert np.abs(quantized).max() <= 127
    assert np.corrcoef((vectors @ vectors.T).ravel(), (quantized @ quantized.T).ravel())[0, 1] > 0.9999
    lengths = np.linalg.norm(quantized, axis=1)
    assert ((quantized / lengths[:, None]) * vectors).sum(axis=1).min() > 0.999


def test_bits_are_packed_with_the_first_number_highest() -> None:
    vectors = np.array([[1, -1, -1, -1, -1, -1, -1, 1, 1, -1, -1, -1, -1, -1, -1, -1]], dtype=np.float32)
    assert encode_vectors(vectors, "ubinary") == [[129, 128]]
    assert encode_vectors(vectors, "binary") == [[1, 0]]


# Paths that clients of other servers use


@pytest.mark.parametrize(
    ("path", "body", "input_type"),
    [
        ("/openai/deployments/e5:query/embeddings", {}, "query"),
        ("/openai/deployments/e5%3Aquery/embeddings", {"model": None}, "query"),
        ("/openai/deployments/intfloat/e5:none/embeddings", {}, "none"),
        ("/openai/deployments/e5:query/embeddings", {"model": "e5:passage"}, "passage"),
        ("/openai/deployments/e5/embeddings", {}, "passage"),
        ("/openai/v1/embeddings", {"model": "e5:query"}, "query"),
        ("/embeddings", {"model": "e5:query"}, "query"),
    ],
)
def test_azures_deployment_stands_for_the_model(path: str, body: dict[str, Any], input_type: str) -> None:
    event = http_v2(path, {"input": "text", **body}) | {"rawQueryString": "api-version=2024-10-21"}
    answer = json.loads(DISPATCHER(event, Context())["body"])
    assert answer["data"][0]["embedding"] == vector("text", input_type)


def test_rerank_takes_documents_in_place_of_texts() -> None:
    expected = ask("/v1/rerank", RERANK)
    for path in ("/rerank", "/reranking", "/v1/reranking"):
        assert ask(path, RERANK) == expected
    assert ask("/rerank", {**RERANK, "texts": None, "top_n": 1}) == ask("/v1/rerank", {**RERANK, "top_n": 1})
    assert [rank["index"] for rank in ask("/rerank", {"query": "abc", "texts": DOCUMENTS})] == ORDER
    assert ask("/models") == ask("/v1/models")


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


def test_an_empty_text_to_embed_is_refused_by_its_place() -> None:
    for path, field in (("/v1/embeddings", "input"), ("/embed", "inputs"), ("/v1/embed", "texts")):
        for text in ("", "a\0"):
            answer = send(path, {field: ["a", text]})
            assert answer["statusCode"] in {400, 422}
            assert f"{field}[1]" in answer["body"]
