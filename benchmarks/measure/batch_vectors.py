"""Vectors of texts alone and in a batch: ``python -m benchmarks.measure.batch_vectors LIBRARY DIRECTORY``.

Reads lists of texts from stdin, as JSON, and prints a list of vectors for each. Runs in the library's own
environment, so it imports nothing but that.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
MAX_TOKENS = 256


def ours(directory: Path) -> Embed:
    """Opens a bundle with the function's own code."""
    from lambda_app.bundle import Bundle
    from lambda_app.models.embedder import Embedder

    model = Bundle.open(directory).embedding
    if model is None:
        raise SystemExit("the bundle has no embedding model")
    embedder = Embedder.open(model, threads=1)
    return lambda texts: embedder.embed(texts, "none").vectors.tolist()


def fastembed(directory: Path) -> Embed:
    """Opens the model in fastembed as a custom one; runs a batch at a time."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    name = "local/model"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=json.loads((directory / "config.json").read_text(encoding="utf-8"))["hidden_size"],
        model_file="model.onnx",
    )
    model = TextEmbedding(name, specific_model_path=str(directory), threads=1)
    return lambda texts: [vector.tolist() for vector in model.embed(texts, batch_size=len(texts))]


def optimum(directory: Path) -> Embed:
    """Opens the model as an ORTModel, with mean pooling and normalization as model cards have them."""
    import torch
    from optimum.onnxruntime import ORTModelForFeatureExtraction
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(directory))
    model = ORTModelForFeatureExtraction.from_pretrained(str(directory))

    def embed(texts: list[str]) -> list[list[float]]:
        batch = tokenizer(texts, max_length=MAX_TOKENS, padding=True, truncation=True, return_tensors="pt")
        mask = batch["attention_mask"][..., None]
        pooled = (model(**batch).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
        vectors: list[list[float]] = torch.nn.functional.normalize(pooled, p=2, dim=1).tolist()
        return vectors

    return embed


LIBRARIES: dict[str, Callable[[Path], Embed]] = {"ours": ours, "fastembed": fastembed, "optimum": optimum}


def main(arguments: list[str]) -> None:
    """Answers the lists of texts on stdin."""
    library, directory = arguments
    embed = LIBRARIES[library](Path(directory))
    answers = [embed(texts) for texts in json.load(sys.stdin)]
    print("\n" + json.dumps([[list(map(float, row)) for row in rows] for rows in answers]))


if __name__ == "__main__":
    main(sys.argv[1:])
