"""A bundle's own answers to a few texts: ``python -m builder.parity.answers BUNDLE TASK OUT``.

The parity gate runs this here and on an emulated CPU, and compares. It imports only what the function does.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lambda_app.models  # noqa: F401  # sets what has to be set before numpy is imported

# isort: split
import numpy as np
from numpy.typing import NDArray

from builder.parity.data import load_rankings, load_sentences
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker

# Emulation takes about a hundred times as long as the CPU does.
TEXTS = 6
RANKINGS = 2


def answers(model: ModelInfo) -> NDArray[np.float32]:
    """Returns vectors (texts, dimensions) of an embedder, or logits (pairs,) of a cross-encoder."""
    if model.task == "embedding":
        sentences = load_sentences()
        texts = sentences[:: -(-len(sentences) // TEXTS)]
        return Embedder.open(model, threads=1).embed(texts, "passage").vectors
    reranker = Reranker.open(model, threads=1)
    rankings = load_rankings()[:RANKINGS]
    return np.concatenate([reranker.score(query, documents[:3]).logits for query, documents in rankings])


def main(arguments: list[str]) -> int:
    """Writes the answers of one model of a bundle to a file; returns the exit code."""
    bundle, task, out = arguments
    opened = Bundle.open(bundle)
    model = opened.embedding if task == "embedding" else opened.reranker
    if model is None:
        return 1
    np.save(Path(out), answers(model))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
