"""The embedded default: all-MiniLM-L6-v2 with its real weights, out of the package that carries them."""

from pathlib import Path

import numpy as np
import pytest

from builder.cli import main
from builder.graph.reference import Reference, load_torch_model
from builder.sources.files import ModelFiles
from lambda_app.bundle import Bundle
from lambda_app.models.embedder import Embedder
from tests.support.builds import ROOT
from tests.support.invariance import check_invariance

pytestmark = pytest.mark.minilm

TEXTS = [
    "How long does a loaded train need to stop?",
    "A loaded freight train needs well over a kilometre to come to a halt.",
    "Knead the dough until it no longer sticks to your hands.",
    "The braking distance of a train grows with the square of its speed. " * 30,
]


@pytest.fixture(scope="module", params=["int8", "none"])
def built(
    request: pytest.FixtureRequest, minilm: ModelFiles, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    out = tmp_path_factory.mktemp("minilm") / "models"
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--out", str(out)]
    environ = {"MODEL_CACHE_DIR": str(minilm.directory.parent.parent)}
    assert main([*arguments, "--quantization", request.param], environ) == 0
    return Bundle.open(out)


def test_vectors_against_pytorch(built: Bundle, minilm: ModelFiles) -> None:
    model = built.embedding
    assert model is not None
    assert (model.dimensions, model.max_tokens, model.pooling) == (384, 256, "mean")
    reference = Reference(
        load_torch_model(minilm.directory, "embedding"),
        minilm.directory / "tokenizer.json",
        max_tokens=256,
        pad_token_id=0,
    )
    expected = reference.embed(TEXTS, "mean")
    output = Embedder.open(model, threads=1).embed(TEXTS, "none")
    cosine = (output.vectors * expected).sum(axis=1)
    assert cosine.min() > (0.985 if model.quantization.scheme == "int8" else 0.99999)
    assert output.truncated == (3,)
    # The order that anyone would expect, at any precision: what is about trains before what is about dough.
    similarity = output.vectors @ output.vectors[0]
    assert min(similarity[1], similarity[3]) > similarity[2] + 0.1


def test_one_vector_in_any_batch(built: Bundle) -> None:
    assert built.embedding is not None
    check_invariance(built.embedding)


def test_golden_values(built: Bundle) -> None:
    """Values of the published model (FP32, PyTorch 2.13), so that a mistake on both sides would show."""
    model = built.embedding
    assert model is not None
    vector = Embedder.open(model, threads=1).embed([TEXTS[0]], "none").vectors[0]
    tolerance = 0.01 if model.quantization.scheme == "int8" else 1e-5
    np.testing.assert_allclose(vector[:8], GOLDEN, atol=tolerance)


# Of the first text; see test_golden_values.
GOLDEN = [-0.021629, 0.001417, 0.039445, 0.099458, -0.028346, 0.033209, -0.103988, 0.026285]


def test_the_report(built: Bundle) -> None:
    model = built.embedding
    assert model is not None
    assert model.parity["passed"]
    # Plain per-channel rounding: 0.987 and 0.908 on the same texts.
    bounds = (0.996, 0.945) if model.quantization.scheme == "int8" else (0.9999, 0.99)
    assert model.parity["mean_cosine"] > bounds[0]
    assert model.parity["top10_overlap"] > bounds[1]
    assert model.parity["tokenizer"]["first_difference"] is None
    assert model.source["files"].keys() >= {"config.json", "model.safetensors"}
    assert built.rerank_kind == "bi-encoder"
    assert Path(built.directory, "embedding", "model.onnx").stat().st_size < 100_000
