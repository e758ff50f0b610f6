"""A text has the same vector, and a pair the same score, whatever it is sent with."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.cli import main
from builder.parity.data import load_texts
from builder.sources.files import ModelFiles
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.models.inference import run_encodings
from lambda_app.models.session import open_session
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Encoding
from tests.support.builds import ROOT, build_bundle
from tests.support.tiny_families import FAMILIES, tiny_cross_encoder, tiny_embedder
from tests.support.tiny_sources import TinySources

# What the order of FP32 sums leaves, in the pooling of a longer batch.
TOLERANCE = 1e-6
SCHEMES = ["int8", "int8-vnni", "int8-block", "int4", "mixed"]


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


def check(model: ModelInfo, *, packed_alone: bool = True) -> None:
    items = encodings(model)
    sessions = {
        "as it opens": open_session(model, threads=1),
        "repacked": open_session(model, threads=2, prepack=True),
    }
    if not packed_alone:
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


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family(family: str, tmp_path: Path) -> None:
    out = build_bundle(
        tmp_path,
        embedding=tiny_embedder(tmp_path / "embedder", family),
        reranker=tiny_cross_encoder(tmp_path / "reranker", family),
    )
    for model in Bundle.open(out).models():
        check(model)


@pytest.mark.parametrize("scheme", SCHEMES[1:])
def test_every_scheme(scheme: str, tiny_sources: TinySources, tmp_path: Path) -> None:
    out = build_bundle(
        tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker, quantization=scheme
    )
    for model in Bundle.open(out).models():
        check(model, packed_alone=not model.quantization.prepack)


@pytest.mark.minilm
@pytest.mark.parametrize(
    "scheme", ["int8", *(pytest.param(scheme, marks=pytest.mark.long) for scheme in SCHEMES[1:])]
)
def test_minilm(scheme: str, minilm: ModelFiles, tmp_path: Path) -> None:
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--out", str(tmp_path / "models")]
    environ = {"MODEL_CACHE_DIR": str(minilm.directory.parent.parent)}
    assert main([*arguments, "--quantization", scheme, "--parity", "off"], environ) == 0
    model = Bundle.open(tmp_path / "models").embedding
    assert model is not None
    check(model, packed_alone=not model.quantization.prepack)
