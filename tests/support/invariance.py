"""That a text has the same vector, and a pair the same score, whatever it is batched with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.parity.data import load_texts
from lambda_app.bundle import ModelInfo
from lambda_app.models.inference import run_encodings
from lambda_app.models.session import open_session
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Encoding

# What the order of FP32 sums leaves, in the pooling of a longer batch.
TOLERANCE = 1e-6


def encodings(model: ModelInfo) -> list[Encoding]:
    """Short and long, one token and the most that the model takes, capitals, code, emoji, other scripts."""
    some = load_texts()
    texts = [
        *some[:: max(1, len(some) // 12)],
        "a",
        "STOP THE TRAIN NOW",
        "for (int i = 0; i < n; ++i) { x[i] *= 2; }",
        "🚂🚂🚂 🙂",
        "поезд 列車 قطار",
        "train " * 600,
    ]
    tokenizer = load_tokenizer(model)
    if model.task == "embedding":
        return tokenizer.encode_batch(texts, model.max_tokens)
    return tokenizer.encode_pairs(texts[0], texts, model.max_tokens)


def check_invariance(model: ModelInfo) -> None:
    """A model gives each item the same output in any batch, as it opens and with repacked weights.

    Models that say ``prepack`` are always opened with repacked weights.
    """
    items = encodings(model)
    sessions = {
        "as it opens": open_session(model, threads=1),
        "repacked": open_session(model, threads=2, prepack=True),
    }
    if model.quantization.prepack:
        del sessions["as it opens"]

    def run(some: list[Encoding], budget: int, session: str = "repacked") -> NDArray[np.float32]:
        return run_encodings(sessions[session], model, some, batch_tokens=budget)

    alone = np.concatenate([run([item], 4096) for item in items])
    for name in sessions:
        # One batch for all, beside the longest; then batches of similar lengths; then in other places.
        for budget in (1 << 20, 1024, 128, 1):
            np.testing.assert_allclose(run(items, budget, name), alone, rtol=0, atol=TOLERANCE)
        order = np.random.default_rng(0).permutation(len(items))
        shuffled = run([items[place] for place in order], 1 << 20, name)
        np.testing.assert_allclose(shuffled, alone[order], rtol=0, atol=TOLERANCE)
    # Not because everything is the same vector.
    assert np.abs(alone - alone[:1]).max() > 0.01
