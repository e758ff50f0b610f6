"""fastembed with both models registered as custom ones, from a local directory, on single-file INT8."""

from fastembed import TextEmbedding
from fastembed.common.model_description import ModelSource, PoolingType
from fastembed.rerank.cross_encoder import TextCrossEncoder

from benchmarks.contenders.common import EMBEDDER, RERANKER, create_handler

TextEmbedding.add_custom_model(
    model="local/e5-base-v2",
    pooling=PoolingType.MEAN,
    normalization=True,
    sources=ModelSource(hf="local/e5-base-v2"),
    dim=768,
    model_file="model.onnx",
)
TextCrossEncoder.add_custom_model(
    model="local/bge-reranker-base",
    sources=ModelSource(hf="local/bge-reranker-base"),
    model_file="model.onnx",
)
embedder = TextEmbedding("local/e5-base-v2", specific_model_path=EMBEDDER)
reranker = TextCrossEncoder("local/bge-reranker-base", specific_model_path=RERANKER)


def embed(texts: list[str], batch_size: int | None) -> list[list[float]]:
    """Vectors; fastembed's own batch size is 256."""
    return [vector.tolist() for vector in embedder.embed(texts, batch_size=batch_size or 256)]


def rerank(query: str, documents: list[str]) -> list[float]:
    """Scores in the order of the documents."""
    return list(reranker.rerank(query, documents))


handler = create_handler(embed, rerank)
