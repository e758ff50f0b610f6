"""sentence-transformers, FP32, from disk: what its documentation shows."""

from sentence_transformers import CrossEncoder, SentenceTransformer

from benchmarks.contenders.common import EMBEDDER, RERANKER, create_handler

embedder = SentenceTransformer(EMBEDDER, device="cpu")
reranker = CrossEncoder(RERANKER, device="cpu")


def embed(texts: list[str], batch_size: int | None) -> list[list[float]]:
    """Vectors; sentence-transformers sorts by length itself."""
    vectors: list[list[float]] = embedder.encode(
        texts, batch_size=batch_size or 32, normalize_embeddings=True
    ).tolist()
    return vectors


def rerank(query: str, documents: list[str]) -> list[float]:
    """Scores in the order of the documents."""
    scores: list[float] = reranker.predict([(query, document) for document in documents]).tolist()
    return scores


handler = create_handler(embed, rerank)
