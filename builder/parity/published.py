"""What sentence-transformers gives on a model's published files: the reference of the gate.

It reads the files by itself (``tokenizer_config.json``, ``modules.json``, Dense layers, weights), so that a
file that the build reads wrongly, or not at all, shows as a difference.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from builder.config.schema import EmbeddingConfig, RerankerConfig
from builder.sources.files import MODULES

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the libraries that it imports
    from sentence_transformers import CrossEncoder, SentenceTransformer, models

_BATCH = 16
_POOLINGS = {"last": "lasttoken"}
# No code from elsewhere, no pickled weights, no network.
_LOCAL: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
_WEIGHTS: dict[str, Any] = {"use_safetensors": True, "dtype": torch.float32}


class PublishedEmbedder:
    """An embedder in PyTorch, as its users run it."""

    def __init__(self, directory: Path, config: EmbeddingConfig) -> None:
        """Opens a directory; ``config`` says where texts are cut, and how to pool without modules.json."""
        if (directory / MODULES).exists():
            self._model = SentenceTransformer(str(directory), device="cpu", model_kwargs=_WEIGHTS, **_LOCAL)
        else:
            arguments = {**_LOCAL, **_WEIGHTS}
            transformer = models.Transformer(
                str(directory), model_args=arguments, tokenizer_args=dict(_LOCAL)
            )
            pooling = models.Pooling(
                transformer.get_word_embedding_dimension(), _POOLINGS.get(config.pooling, config.pooling)
            )
            self._model = SentenceTransformer(modules=[transformer, pooling], device="cpu")
        self._model.max_seq_length = config.max_tokens
        self.tokenizer = _plain(self._model.tokenizer)

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Returns L2-normalised vectors, (texts, dimensions); texts have their prompts already."""
        vectors: NDArray[np.float32] = self._model.encode(
            list(texts), prompt="", batch_size=_BATCH, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors


class PublishedCrossEncoder:
    """A cross-encoder in PyTorch, as its users run it."""

    def __init__(self, directory: Path, config: RerankerConfig) -> None:
        """Opens a directory; ``config`` says where pairs are cut."""
        self._model = CrossEncoder(
            str(directory), device="cpu", max_length=config.max_tokens, model_kwargs=_WEIGHTS, **_LOCAL
        )
        self.tokenizer = _plain(self._model.tokenizer)

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Returns raw logits of a query with each document, (documents,)."""
        logits: NDArray[np.float32] = self._model.predict(
            [(query, document) for document in documents],
            batch_size=_BATCH,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        return logits


def _plain(tokenizer: Any) -> Any:
    """Reads special tokens in a text as text: the function never takes them from a caller."""
    tokenizer.split_special_tokens = True
    return tokenizer
