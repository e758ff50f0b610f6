"""onnxruntime and tokenizers, nothing between, defaults everywhere, on single-file INT8."""

import os
from typing import Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from benchmarks.contenders.common import EMBEDDER, RERANKER, create_handler


def load(directory: str, padding_id: int) -> tuple[Tokenizer, Any]:
    """Tokenizer and session of a model."""
    tokenizer = Tokenizer.from_file(f"{directory}/tokenizer.json")
    tokenizer.enable_truncation(512)
    tokenizer.enable_padding(pad_id=padding_id)
    return tokenizer, onnxruntime.InferenceSession(f"{directory}/model.onnx")


def run(session: Any, encodings: list[Any]) -> Any:
    """The graph's first output, and the attention mask."""
    inputs = {
        "input_ids": np.array([encoding.ids for encoding in encodings], np.int64),
        "attention_mask": np.array([encoding.attention_mask for encoding in encodings], np.int64),
        "token_type_ids": np.array([encoding.type_ids for encoding in encodings], np.int64),
    }
    wanted = {value.name for value in session.get_inputs()}
    output = session.run(None, {name: value for name, value in inputs.items() if name in wanted})[0]
    return output, inputs["attention_mask"]


embedder_tokenizer, embedder = load(EMBEDDER, 0)
if os.environ.get("BENCH_EMBED_ONLY") != "1":
    reranker_tokenizer, reranker = load(RERANKER, 1)


def embed(texts: list[str], batch_size: int | None) -> list[list[float]]:
    """Mean pooling and normalisation, as e5 has them."""
    step = batch_size or 32
    vectors: list[list[float]] = []
    for start in range(0, len(texts), step):
        hidden, mask = run(embedder, embedder_tokenizer.encode_batch(texts[start : start + step]))
        pooled = (hidden * mask[..., None]).sum(axis=1)
        vectors += (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).tolist()
    return vectors


def rerank(query: str, documents: list[str]) -> list[float]:
    """Scores in the order of the documents."""
    logits, _ = run(reranker, reranker_tokenizer.encode_batch([(query, document) for document in documents]))
    scores: list[float] = (1 / (1 + np.exp(-logits.reshape(-1)))).tolist()
    return scores


handler = create_handler(embed, rerank)
