"""LangChain, LlamaIndex and Haystack: what the page's snippets leave out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.components.embedders import OpenAITextEmbedder
from haystack.utils import Secret
from haystack_integrations.components.embedders.huggingface_api import HuggingFaceAPITextEmbedder
from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker, TruncationDirection
from langchain_cohere import CohereEmbeddings, CohereRerank
from langchain_core.documents import Document as LangChainDocument
from langchain_openai import OpenAIEmbeddings
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.embeddings.openai_like import OpenAILikeEmbedding
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference
from llama_index.postprocessor.cohere_rerank import CohereRerank as LlamaCohereRerank
from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

from conftest import BEST, KEY, PASSAGES, QUERY, URL

Vectors = Callable[[list[str], str], list[list[float]]]
TOO_LONG = "many words " * 400


def close(found: Any, expected: Any) -> bool:
    return bool(np.allclose(found, expected, atol=1e-6))


def nodes() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=passage)) for passage in PASSAGES]


def test_langchain_openai_without_waiting(vectors: Vectors) -> None:
    embeddings = OpenAIEmbeddings(
        model="e5:passage", base_url=f"{URL}/v1", api_key=KEY, check_embedding_ctx_length=False, chunk_size=2
    )
    found = asyncio.run(embeddings.aembed_documents(PASSAGES))
    assert close(found, [*vectors(PASSAGES[:2], "passage"), *vectors(PASSAGES[2:], "passage")])


def test_langchain_openai_with_token_ids_reads_what_to_set() -> None:
    """What the client sends by default; it would fetch a tokenizer for it, so that part is left out."""
    embeddings = OpenAIEmbeddings(model="e5", base_url=f"{URL}/v1", api_key=KEY)
    with pytest.raises(Exception, match="check_embedding_ctx_length=False"):
        embeddings.client.create(input=[[1169, 15345]], model="e5")


def test_langchain_cohere_compresses_documents(scores: list[float]) -> None:
    rerank = CohereRerank(model="any", top_n=2, base_url=URL, cohere_api_key=KEY)
    found = rerank.compress_documents([LangChainDocument(passage) for passage in PASSAGES], QUERY)
    assert found[0].page_content == PASSAGES[BEST]
    assert found[0].metadata["relevance_score"] == pytest.approx(max(scores), abs=1e-6)
    assert len(found) == 2


def test_langchain_cohere_without_waiting(vectors: Vectors) -> None:
    embeddings = CohereEmbeddings(model="any", base_url=URL, cohere_api_key=KEY, truncate="START")
    assert close([asyncio.run(embeddings.aembed_query(QUERY))], vectors([QUERY], "query"))


def test_llama_index_openai_without_waiting(vectors: Vectors) -> None:
    embedding = OpenAILikeEmbedding("e5:query", api_base=f"{URL}/v1", api_key=KEY)
    assert close([asyncio.run(embedding.aget_query_embedding(QUERY))], vectors([QUERY], "query"))


def test_llama_index_tei_without_instructions(vectors: Vectors) -> None:
    embedding = TextEmbeddingsInference("any", base_url=URL, auth_token=KEY)
    assert close([embedding.get_text_embedding(TOO_LONG)], vectors([TOO_LONG], "none"))
    assert close([asyncio.run(embedding.aget_query_embedding(QUERY))], vectors([QUERY], "none"))


@pytest.mark.parametrize(
    "rerank",
    [
        TextEmbeddingInference(base_url=URL, auth_token=f"Bearer {KEY}", top_n=2),
        LlamaCohereRerank(base_url=URL, api_key=KEY, model="any", top_n=2),
    ],
    ids=["tei", "cohere"],
)
def test_llama_index_reranks(rerank: Any, scores: list[float]) -> None:
    found = rerank.postprocess_nodes(nodes(), query_str=QUERY)
    assert found[0].text == PASSAGES[BEST]
    assert [node.score for node in found] == pytest.approx(sorted(scores, reverse=True)[:2], abs=1e-6)


def test_haystack_in_a_pipeline(vectors: Vectors) -> None:
    pipeline = Pipeline()
    pipeline.add_component(
        "embedder",
        OpenAITextEmbedder(model="e5:query", api_base_url=f"{URL}/v1", api_key=Secret.from_token(KEY)),
    )
    found = pipeline.run({"embedder": {"text": QUERY}})["embedder"]["embedding"]
    assert close([found], vectors([QUERY], "query"))


def test_haystack_embeds_through_tei(vectors: Vectors) -> None:
    embedder = HuggingFaceAPITextEmbedder(
        api_type="text_embeddings_inference",
        api_params={"url": URL},
        token=Secret.from_token(KEY),
        prefix="query: ",
    )
    assert close([embedder.run(QUERY)["embedding"]], vectors([QUERY], "query"))


def test_haystack_ranks(scores: list[float]) -> None:
    ranker = HuggingFaceTEIRanker(url=URL, token=Secret.from_token(KEY), top_k=2)
    documents = [Document(content=passage) for passage in PASSAGES]
    for direction in (None, TruncationDirection.LEFT, TruncationDirection.RIGHT):
        found = ranker.run(query=QUERY, documents=documents, truncation_direction=direction)["documents"]
        assert [document.score for document in found] == pytest.approx(
            sorted(scores, reverse=True)[:2], abs=1e-6
        )
    raw = HuggingFaceTEIRanker(url=URL, token=Secret.from_token(KEY), raw_scores=True)
    assert raw.run(query=QUERY, documents=documents)["documents"][0].score != max(scores)
    with pytest.raises(RuntimeError, match="422"):
        ranker.run(query="", documents=documents)
