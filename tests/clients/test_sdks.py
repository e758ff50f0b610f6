"""The vendors' own SDKs: what each of them sends, parses and raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import cohere
import numpy as np
import openai
import pytest
import voyageai
import voyageai.error
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

from conftest import BEST, KEY, PASSAGES, QUERY, URL

Vectors = Callable[[list[str], str], list[list[float]]]
MODEL = "sentence-transformers/all-MiniLM-L6-v2"
TOO_LONG = "many words " * 400
OPENAI = openai.OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


def close(found: Any, expected: Any) -> bool:
    return bool(np.allclose(found, expected, atol=1e-6))


# openai


@pytest.mark.parametrize("encoding", [{}, {"encoding_format": "float"}])
def test_openai_embeds(encoding: dict[str, Any], vectors: Vectors) -> None:
    answer = OPENAI.embeddings.create(model="any", input=PASSAGES, user="somebody", **encoding)
    assert close([entry.embedding for entry in answer.data], vectors(PASSAGES, "passage"))
    assert answer.model == MODEL
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0


def test_openai_sends_fields_of_ours(vectors: Vectors) -> None:
    answer = OPENAI.embeddings.create(model="any", input=QUERY, extra_body={"input_type": "query"})
    assert close([answer.data[0].embedding], vectors([QUERY], "query"))


def test_openai_without_waiting(vectors: Vectors) -> None:
    async def embed() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY) as client:
            return await client.embeddings.create(model="any:query", input=QUERY)

    assert close([asyncio.run(embed()).data[0].embedding], vectors([QUERY], "query"))


def test_openai_lists_models() -> None:
    names = [model.id for model in OPENAI.models.list()]
    assert names == [MODEL, f"{MODEL}:query", f"{MODEL}:passage"]
    assert OPENAI.models.retrieve(f"{MODEL}:query").id == f"{MODEL}:query"
    with pytest.raises(openai.NotFoundError):
        OPENAI.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("options", "kind", "code", "param"),
    [
        ({"input": [[1, 2], [3]]}, openai.BadRequestError, "invalid_field", "input"),
        ({"input": "a", "dimensions": 5}, openai.BadRequestError, "invalid_field", "dimensions"),
        ({"input": ""}, openai.BadRequestError, "invalid_text", "input[0]"),
        ({"input": []}, openai.BadRequestError, "invalid_field", "input"),
        ({"input": ["a"] * 2_049}, openai.APIStatusError, "limit_exceeded", "input"),
    ],
)
def test_openai_raises(options: dict[str, Any], kind: type[Any], code: str, param: str | None) -> None:
    with pytest.raises(kind) as caught:
        OPENAI.embeddings.create(model="any", **options)
    error = caught.value
    assert (error.code, error.param, error.type) == (code, param, "invalid_request_error")
    assert error.request_id
    assert error.body["message"]


def test_openai_reads_of_a_wrong_key() -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        OPENAI.with_options(api_key="wrong").embeddings.create(model="any", input="a")
    assert caught.value.code == "invalid_api_key"


def test_openai_sees_headers() -> None:
    raw = OPENAI.embeddings.with_raw_response.create(model="any", input="a", extra_body={"drop_params": True})
    assert raw.headers["x-ignored-fields"] == "drop_params"
    assert raw.headers["x-request-id"]
    assert raw.headers["x-model-fingerprint"].startswith("sha256:")


# cohere

COHERE, COHERE_2 = cohere.Client(KEY, base_url=URL), cohere.ClientV2(KEY, base_url=URL)


def test_cohere_1_embeds(vectors: Vectors) -> None:
    plain = COHERE.embed(texts=PASSAGES, input_type="search_document", model="any")
    assert plain.response_type == "embeddings_floats"
    assert close(plain.embeddings, vectors(PASSAGES, "passage"))
    assert plain.meta.billed_units.input_tokens > 0
    typed = COHERE.embed(texts=PASSAGES, model="any", embedding_types=["float", "binary"])
    assert typed.response_type == "embeddings_by_type"
    assert close(typed.embeddings.float_, vectors(PASSAGES, "passage"))
    assert len(typed.embeddings.binary[0]) == 48


def test_cohere_1_sends_many_texts_in_batches(vectors: Vectors) -> None:
    texts = [f"text number {number}" for number in range(200)]
    answer = COHERE.embed(texts=texts, input_type="search_document", model="any")
    assert len(answer.embeddings) == 200
    assert close(answer.embeddings[:96], vectors(texts[:96], "passage"))


def test_cohere_2_embeds_in_every_type(vectors: Vectors) -> None:
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    answer = COHERE_2.embed(model="any", texts=PASSAGES, input_type="search_query", embedding_types=types)
    found, expected = answer.embeddings, np.array(vectors(PASSAGES, "query"))
    assert close(found.float_, expected)
    for row, want in zip(np.array(found.int8, dtype=float), expected, strict=True):
        assert row @ want / np.linalg.norm(row) > 0.999
    assert (np.unpackbits(np.array(found.ubinary, dtype=np.uint8), axis=1) == (expected > 0)).all()
    assert (np.array(found.binary) + 128 == np.array(found.ubinary)).all()
    assert answer.texts == PASSAGES


def test_cohere_2_embeds_inputs(vectors: Vectors) -> None:
    inputs = [{"content": [{"type": "text", "text": QUERY}]}]
    answer = COHERE_2.embed(model="any", inputs=inputs, input_type="search_query", embedding_types=["float"])
    assert close(answer.embeddings.float_, vectors([QUERY], "query"))


@pytest.mark.parametrize("client", [COHERE, COHERE_2], ids=["1", "2"])
def test_cohere_reranks(client: Any, scores: list[float]) -> None:
    answer = client.rerank(model="any", query=QUERY, documents=PASSAGES)
    order = sorted(range(3), key=lambda index: -scores[index])
    assert [result.index for result in answer.results] == order
    assert all(0 < result.relevance_score < 1 for result in answer.results)
    assert client.rerank(model="any", query=QUERY, documents=PASSAGES, top_n=1).results[0].index == BEST


def test_cohere_1_reranks_objects_by_their_fields() -> None:
    documents = [{"title": "Treaties", "text": PASSAGES[0]}, {"title": "Fever", "text": PASSAGES[BEST]}]
    answer = COHERE.rerank(
        query=QUERY, documents=documents, rank_fields=["title", "text"], return_documents=True, model="any"
    )
    assert answer.results[0].document.text == PASSAGES[BEST]
    assert answer.results[0].document.title == "Fever"  # type: ignore[attr-defined]  # a field of the caller's


def test_cohere_2_limits_documents() -> None:
    whole = COHERE_2.rerank(model="any", query=QUERY, documents=[TOO_LONG, "a"])
    assert "documents 0 " in whole.meta.warnings[0]
    short = COHERE_2.rerank(model="any", query=QUERY, documents=[TOO_LONG, "a"], max_tokens_per_doc=8)
    assert short.meta.tokens.input_tokens < whole.meta.tokens.input_tokens


def test_cohere_without_waiting(scores: list[float]) -> None:
    async def rerank() -> Any:
        client = cohere.AsyncClientV2(KEY, base_url=URL)
        return await client.rerank(model="any", query=QUERY, documents=PASSAGES)

    assert asyncio.run(rerank()).results[0].relevance_score == pytest.approx(max(scores), abs=1e-6)


def test_cohere_raises() -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        COHERE_2.rerank(model="any", query=QUERY, documents=[])
    assert caught.value.body["message"] == "documents must hold at least one text"
    assert caught.value.body["code"] == "invalid_field"
    with pytest.raises(cohere.core.ApiError) as too_long:
        COHERE_2.embed(model="any", texts=[TOO_LONG], input_type="search_query", truncate="NONE")
    assert too_long.value.status_code == 413
    with pytest.raises(cohere.UnauthorizedError):
        cohere.ClientV2("wrong", base_url=URL).rerank(model="any", query=QUERY, documents=["a"])


# voyageai

VOYAGE = voyageai.Client(api_key=KEY, base_url=f"{URL}/v1")


@pytest.mark.parametrize(("stated", "ours"), [("query", "query"), ("document", "passage"), (None, "passage")])
def test_voyage_embeds(stated: str | None, ours: str, vectors: Vectors) -> None:
    answer = VOYAGE.embed(PASSAGES, model="any", input_type=stated)
    assert close(answer.embeddings, vectors(PASSAGES, ours))
    assert answer.total_tokens > 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "binary", "ubinary"])
def test_voyage_decodes_every_type(dtype: str) -> None:
    found = VOYAGE.embed(PASSAGES, model="any", output_dtype=dtype).embeddings
    cohere_answer = COHERE_2.embed(
        model="any", texts=PASSAGES, input_type="search_document", embedding_types=[dtype]
    )
    assert found == getattr(cohere_answer.embeddings, dtype)


def test_voyage_reranks(scores: list[float]) -> None:
    answer = VOYAGE.rerank(QUERY, PASSAGES, model="any", top_k=2)
    assert answer.results[0].document == PASSAGES[BEST]
    assert len(answer.results) == 2
    assert answer.results[0].relevance_score == pytest.approx(max(scores), abs=1e-6)


def test_voyage_raises() -> None:
    with pytest.raises(voyageai.error.InvalidRequestError, match="must be 384"):
        VOYAGE.embed(PASSAGES, model="any", output_dimension=7)
    with pytest.raises(voyageai.error.APIError, match="more tokens than the model takes"):
        VOYAGE.embed([TOO_LONG], model="any", truncation=False)
    with pytest.raises(voyageai.error.AuthenticationError):
        voyageai.Client(api_key="wrong", base_url=f"{URL}/v1").embed(PASSAGES, model="any")


def test_voyage_without_waiting(vectors: Vectors) -> None:
    client = voyageai.AsyncClient(api_key=KEY, base_url=f"{URL}/v1")
    answer = asyncio.run(client.embed([QUERY], model="any", input_type="query"))
    assert close(answer.embeddings, vectors([QUERY], "query"))


# huggingface_hub


@pytest.mark.parametrize("url", [URL, f"{URL}/", f"{URL}/embed"])
@pytest.mark.parametrize("stated", ["query", "passage", None])
def test_hub_extracts_features(url: str, stated: str | None, vectors: Vectors) -> None:
    found = InferenceClient(url, token=KEY).feature_extraction(QUERY, prompt_name=stated, normalize=True)
    assert close(found, vectors([QUERY], stated or "none"))


@pytest.mark.parametrize("direction", ["Left", "Right", "left", "right"])
def test_hub_truncates(direction: str) -> None:
    client = InferenceClient(URL, token=KEY)
    found = client.feature_extraction(
        TOO_LONG + "end", prompt_name="passage", truncate=True, truncation_direction=direction
    )
    assert found.shape == (1, 384)
    with pytest.raises(HfHubHTTPError, match="413"):
        client.feature_extraction(TOO_LONG, truncate=False)


@pytest.mark.parametrize("url", [URL, f"{URL}/similarity"])
def test_hub_compares_sentences(url: str) -> None:
    found = InferenceClient(url, token=KEY).sentence_similarity(QUERY, PASSAGES)
    assert found.index(max(found)) == BEST
    assert all(-1 <= value <= 1 for value in found)


def test_hub_without_waiting(vectors: Vectors) -> None:
    found = asyncio.run(AsyncInferenceClient(URL, token=KEY).feature_extraction(QUERY, prompt_name="query"))
    assert close(found, vectors([QUERY], "query"))


def test_hub_raises() -> None:
    with pytest.raises(HfHubHTTPError) as caught:
        InferenceClient(URL, token=KEY).feature_extraction(QUERY, prompt_name="nonsense")
    assert caught.value.response.status_code == 422
    assert caught.value.response.json()["error_type"] == "Validation"
