"""The service without any API: bounds are checked before inference, and scores mean what they say."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

from lambda_app.errors import (
    DeadlineError,
    EmptyError,
    FieldError,
    LimitError,
    ModelUnavailableError,
    RequestError,
    ResponseTooLargeError,
    TextError,
)
from lambda_app.limits import Limits
from lambda_app.service.deadline import SECONDS_PER_NUMBER, before_writing, checkpoint
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest, RerankRequest
from lambda_app.service.validation import BYTES_PER_NUMBER, BYTES_PER_TOKEN
from tests.support.fakes import (
    DIMENSIONS,
    Context,
    FakeEmbedder,
    FakeReranker,
    fake_dispatcher,
    fake_service,
    http_v2,
    invocation,
    model_info,
)

SMALL = Limits(embed_texts=3, rerank_documents=2, text_characters=10, total_characters=20)


def embedder(service: Service) -> FakeEmbedder:
    found = service.registry.embedder
    assert isinstance(found, FakeEmbedder)
    return found


def reranker(service: Service) -> FakeReranker:
    found = service.registry.reranker
    assert isinstance(found, FakeReranker)
    return found


@pytest.mark.parametrize(
    ("texts", "error", "param"),
    [
        ([], EmptyError, "texts"),
        (["a"] * 4, LimitError, "texts"),
        (["a" * 10] * 3, LimitError, "texts"),
        (["a", "b" * 11], LimitError, "texts[1]"),
        (["a", ""], TextError, "texts[1]"),
        (["a\0"], TextError, "texts[0]"),
        (["a", "é\ud800"], TextError, "texts[1]"),
    ],
)
def test_texts_out_of_bounds_reach_no_model(texts: list[str], error: type[Exception], param: str) -> None:
    service = fake_service(limits=SMALL)
    calls: list[Any] = [
        lambda: service.embed(EmbedRequest(texts, "query"), invocation()),
        lambda: service.tokens(texts, "query", invocation(), special=True, field="texts"),
    ]
    for call in calls:
        with pytest.raises(RequestError) as caught:
            call()
        assert (type(caught.value), caught.value.param) == (error, param)
    assert embedder(service).asked == {}


@pytest.mark.parametrize(
    ("changes", "error", "param"),
    [
        ({"query": ""}, TextError, "query"),
        ({"documents": []}, EmptyError, "texts"),
        ({"documents": ["a"] * 3}, LimitError, "texts"),
        ({"top_n": 0}, FieldError, "top_n"),
    ],
)
def test_what_cannot_be_ranked_reaches_no_model(
    changes: dict[str, Any], error: type[Exception], param: str
) -> None:
    service = fake_service(limits=SMALL)
    request = RerankRequest("q", ["a"], field="texts")._replace(**changes)
    with pytest.raises(RequestError) as caught:
        service.rerank(request, invocation())
    assert (type(caught.value), caught.value.param) == (error, param)
    assert reranker(service).asked == {}


@pytest.mark.parametrize("encoding", BYTES_PER_NUMBER)
def test_vectors_that_cannot_fit_reach_no_model(encoding: str) -> None:
    service = fake_service()
    request = EmbedRequest(["a"] * 40, "query", encodings=(encoding,))
    size = int(40 * DIMENSIONS * BYTES_PER_NUMBER[encoding])
    with pytest.raises(ResponseTooLargeError) as caught:
        service.embed(request, invocation(response_bytes=size - 1))
    assert embedder(service).asked == {}
    assert caught.value.fit is not None
    assert 0 < caught.value.fit < 40
    assert ("base64" in caught.value.message) == (encoding == "float")
    assert len(service.embed(request, invocation(response_bytes=size + 1)).vectors) == 40


def test_tokens_that_cannot_fit_are_refused() -> None:
    service = fake_service()
    options: dict[str, Any] = {"special": False, "field": "inputs"}
    fits = invocation(response_bytes=3 * BYTES_PER_TOKEN)
    assert [len(tokens) for tokens in service.tokens(["abc"], "none", fits, **options)] == [3]
    with pytest.raises(ResponseTooLargeError, match="4 tokens"):
        service.tokens(["abcd"], "none", fits, **options)


def test_tokens_look_at_the_time() -> None:
    service = fake_service()
    options: dict[str, Any] = {"special": False, "field": "inputs"}
    with pytest.raises(DeadlineError):
        service.tokens(["abc"], "none", invocation(deadline=time.monotonic() - 1), **options)
    # Writing them takes time too.
    soon = invocation(deadline=time.monotonic() + 0.5)
    assert len(service.tokens(["a" * 1_000], "none", soon, **options)[0]) == 1_000
    with pytest.raises(DeadlineError):
        service.tokens(["a" * 60_000], "none", soon, **options)


def test_usage_counts_what_was_done() -> None:
    service, record = fake_service(), invocation()
    service.embed(EmbedRequest(["a", "bb"], "query"), record)
    assert (record.usage.items, record.usage.tokens) == (2, 3)
    service.rerank(RerankRequest("q", ["ccc"]), record)
    assert (record.usage.items, record.usage.tokens) == (3, 6)
    with pytest.raises(TextError):
        service.embed(EmbedRequest([""], "query"), record)
    assert (record.usage.items, record.usage.tokens) == (3, 6)


@pytest.mark.parametrize("rerank_kind", ["cross-encoder", "bi-encoder"])
def test_time_that_has_run_out_stops_before_the_first_batch(rerank_kind: Any) -> None:
    service = fake_service(rerank_kind=rerank_kind)
    late = invocation(deadline=time.monotonic() - 1)
    for call in (
        lambda: service.embed(EmbedRequest(["a", "b"], "query"), late),
        lambda: service.rerank(RerankRequest("q", ["a", "b"]), late),
    ):
        with pytest.raises(DeadlineError) as caught:
            call()
        assert (caught.value.done, caught.value.total) == (0, 2)


def test_a_checkpoint_counts_items_and_looks_ahead() -> None:
    assert checkpoint(None, 3) is None
    check = checkpoint(time.monotonic() + 60, 3)
    assert check is not None
    check(2)
    with pytest.raises(DeadlineError, match="after 2 of 3 items") as caught:
        check(2, 61.0)
    assert (caught.value.done, caught.value.total) == (2, 3)
    query = checkpoint(time.monotonic() - 1, 3, query=True)
    assert query is not None
    with pytest.raises(DeadlineError, match="after 0 of 3 items"):
        query(1)


def test_writing_numbers_takes_time_and_base64_takes_none() -> None:
    assert before_writing(None, 10, 4, ("float",)) is None
    assert before_writing(100.0, 10, 4, ("base64",)) == 100.0
    assert before_writing(100.0, 10, 4, ("float", "int8", "base64")) == 100.0 - 80 * SECONDS_PER_NUMBER


def test_a_cross_encoders_score_is_the_sigmoid_of_its_logit() -> None:
    service = fake_service()
    request = RerankRequest("abc", ["z", "abc", "a", "b"])
    raw = service.rerank(request._replace(raw_scores=True), invocation()).results
    assert raw == ((1, 2.0), (2, 0.0), (3, 0.0), (0, -1.0))
    scores = service.rerank(request, invocation()).results
    assert [index for index, _ in scores] == [1, 2, 3, 0]
    expected = [1 / (1 + np.exp(-logit)) for _, logit in raw]
    assert [score for _, score in scores] == pytest.approx(expected)
    assert service.rerank(request._replace(top_n=2), invocation()).results == scores[:2]


def test_a_model_without_an_activation_scores_between_0_and_1_too() -> None:
    service = fake_service()
    request = RerankRequest("abc", ["z", "abc"])
    expected = service.rerank(request, invocation()).results
    reranker(service).model = model_info("reranker", activation="identity")
    assert service.rerank(request, invocation()).results == expected
    raw = service.rerank(request._replace(raw_scores=True), invocation()).results
    assert raw == ((1, 2.0), (0, -1.0))


BLANK = ["", " ", "\n\t", "\u200b", "\u00a0\ufeff", "\u00ad\u2028"]


@pytest.mark.parametrize("rerank_kind", ["cross-encoder", "bi-encoder"])
@pytest.mark.parametrize("raw", [False, True])
def test_a_document_with_nothing_to_read_is_ranked_last(rerank_kind: Any, raw: bool) -> None:
    service = fake_service(rerank_kind=rerank_kind)
    request = RerankRequest("abc", ["z", *BLANK, "abc"], raw_scores=raw)
    others = service.rerank(request._replace(documents=["z", "abc"]), invocation()).results
    results = service.rerank(request, invocation()).results
    assert [score for _, score in results[:2]] == [score for _, score in others]
    assert [index for index, _ in results[2:]] == [1, 2, 3, 4, 5, 6]
    lowest = {score for _, score in results[2:]}
    assert len(lowest) == 1
    assert lowest.pop() < min(score for _, score in others)
    if not raw:
        assert results[-1][1] == 0.0
    # Where there are no others, no model is needed.
    empty = service.rerank(request._replace(documents=[""], top_n=1), invocation())
    assert (empty.results[0][0], empty.tokens) == (0, 0)
    assert empty.results[0][1] == results[-1][1]


@pytest.mark.parametrize("document", ["\u0301", ".", "\ue000", "\U000e0fff", "\u3164"])
def test_what_may_be_seen_is_scored(document: str) -> None:
    results = fake_service().rerank(RerankRequest("abc", [document]), invocation()).results
    assert results[0][1] > 0


def test_places_are_those_of_the_request() -> None:
    service = fake_service()
    request = RerankRequest("q", ["", "a", " ", "b" * 17])
    assert service.rerank(request, invocation()).truncated == (3,)
    with pytest.raises(LimitError) as caught:
        service.rerank(request._replace(truncate="none"), invocation())
    assert caught.value.param == "documents[3]"


def test_nuls_are_stripped_where_the_setting_says_so() -> None:
    refusing, stripping = fake_service(), fake_service({"NUL_CHARACTERS": "strip"})
    calls: list[Any] = [
        lambda service, nul: service.embed(
            EmbedRequest([f"a{nul}b"], "query"), invocation()
        ).vectors.tolist(),
        lambda service, nul: service.tokens([nul, f"{nul}b"], "none", invocation(), special=True, field="t"),
        lambda service, nul: service.rerank(RerankRequest(f"a{nul}", [f"b{nul}", "a"]), invocation()).results,
    ]
    for call in calls:
        with pytest.raises(TextError, match="contains a NUL"):
            call(refusing, "x\0")
        assert call(stripping, "x\0") == call(refusing, "x")
    with pytest.raises(TextError, match=r"texts\[1\] is empty"):
        stripping.embed(EmbedRequest(["a", "\0"], "query"), invocation())
    assert stripping.rerank(RerankRequest("q", ["\0", "q"]), invocation()).results[-1] == (0, 0.0)


def test_a_bi_encoder_ranks_with_the_embedder() -> None:
    service = fake_service(rerank_kind="bi-encoder")
    request = RerankRequest("aaaa", ["a" * 16, "aaaa"], raw_scores=True)
    raw = service.rerank(request, invocation())
    assert raw.model == "test/embedding"
    assert reranker(service).asked == {}
    query, documents = (
        service.embed(EmbedRequest(texts, input_type), invocation()).vectors  # type: ignore[arg-type]
        for texts, input_type in ((["aaaa"], "query"), (request.documents, "passage"))
    )
    cosines = (documents @ query[0]).tolist()
    assert dict(raw.results) == pytest.approx(dict(enumerate(cosines)))
    scores = service.rerank(request._replace(raw_scores=False), invocation()).results
    assert dict(scores) == pytest.approx({index: (cosine + 1) / 2 for index, cosine in enumerate(cosines)})


@pytest.mark.parametrize(
    ("environ", "rerank_kind", "served"),
    [
        ({}, "cross-encoder", ["embedding", "reranker"]),
        ({"MODELS": "embedding"}, "cross-encoder", ["embedding"]),
        ({"MODELS": "reranker"}, "cross-encoder", ["reranker"]),
        ({"MODELS": "reranker"}, "bi-encoder", ["embedding"]),
    ],
)
def test_the_models_that_are_served(environ: dict[str, str], rerank_kind: Any, served: list[str]) -> None:
    service = fake_service(environ, rerank_kind=rerank_kind)
    assert [model.task for model in service.models()] == served


def test_what_ranks_with_the_embedder_does_not_embed() -> None:
    service = fake_service({"MODELS": "reranker"}, rerank_kind="bi-encoder")
    with pytest.raises(ModelUnavailableError):
        service.embed(EmbedRequest(["a"], "query"), invocation())
    assert embedder(service).asked == {}
    assert service.rerank(RerankRequest("a", ["b"]), invocation()).results
    service = fake_service({"MODELS": "embedding"}, rerank_kind="bi-encoder")
    assert len(service.embed(EmbedRequest(["a"], "query"), invocation()).vectors) == 1


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/embed", "/v2/embed", "/embed", "/", "/similarity"])
def test_no_route_embeds_where_only_ranking_is_served(path: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "MODELS": "reranker"}, rerank_kind="bi-encoder")
    bodies = {
        "/v1/embeddings": {"input": "a"},
        "/similarity": {"inputs": {"source_sentence": "a", "sentences": ["b"]}},
        "/v1/embed": {"texts": ["a"], "input_type": "search_query"},
        "/v2/embed": {"texts": ["a"], "input_type": "search_query"},
    }
    answer = dispatcher(http_v2(path, bodies.get(path, {"inputs": "a"})), Context())
    assert answer["statusCode"] in {404, 424}
    assert "model_unavailable" in answer["body"]
    assert dispatcher({"action": "embed", "texts": ["a"]}, Context())["error"]["code"] == "model_unavailable"
    aliases = [
        model["id"] for model in json.loads(dispatcher(http_v2("/v1/models"), Context())["body"])["data"]
    ]
    assert aliases == ["test/embedding"]


def test_a_text_too_long_is_refused_where_truncation_is_off() -> None:
    service = fake_service()
    request = EmbedRequest(["a", "b" * 17], "query", truncate="none", field="input")
    with pytest.raises(LimitError) as caught:
        service.embed(request, invocation())
    assert caught.value.param == "input[1]"
    assert service.embed(request._replace(truncate="end"), invocation()).truncated == (1,)
