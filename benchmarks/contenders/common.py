"""The web layer that all contenders share: FastAPI behind Mangum, the routes that ours has."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from fastapi import FastAPI
from mangum import Mangum
from pydantic import BaseModel

Embed = Callable[[list[str], int | None], list[list[float]]]
Rerank = Callable[[str, list[str]], Sequence[float]]

# What a Dockerfile would say with a path: where the contender's model files are.
MODELS = Path(os.environ["BENCH_MODELS"])
EMBEDDER = str(MODELS / "e5-base-v2")
RERANKER = str(MODELS / "bge-reranker-base")


class EmbeddingRequest(BaseModel):
    """``batch_size`` of None leaves it to the library."""

    input: list[str]
    model: str = ""
    input_type: str = "passage"
    batch_size: int | None = None


class RerankRequest(BaseModel):
    """The order of ``documents`` is what ``index`` in the answer refers to."""

    query: str
    documents: list[str]
    model: str = ""


def create_handler(embed: Embed, rerank: Rerank) -> Mangum:
    """The Lambda handler around two functions."""
    app = FastAPI(title="Embeddings and reranking")

    @app.post("/v1/embeddings")
    def embeddings(body: EmbeddingRequest) -> dict[str, object]:
        vectors = embed([f"{body.input_type}: {text}" for text in body.input], body.batch_size)
        data = [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors)
        ]
        return {"object": "list", "data": data, "model": "e5-base-v2"}

    @app.post("/v1/rerank")
    def rank(body: RerankRequest) -> dict[str, object]:
        scores = rerank(body.query, body.documents)
        best = sorted(range(len(scores)), key=lambda index: -scores[index])
        results = [{"index": index, "relevance_score": float(scores[index])} for index in best]
        return {"model": "bge-reranker-base", "results": results}

    return Mangum(app, lifespan="off")
