"""Exported graphs against PyTorch: cross-encoders of two kinds, poolings, FP32, INT8, truncated texts."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from builder.graph.reference import Reference, load_torch_model
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker
from tests.support.builds import build_bundle
from tests.support.tiny_models import HIDDEN, MAX_TOKENS, write_modules
from tests.support.tiny_sources import TinySources

TEXTS = [
    "short",
    "a rather longer text about trains, cakes and the moon",
    "long " * 200,
    "夜行列車 и поезд",
    "x",
]
QUERY = "how long does a train need to stop?"
DOCUMENTS = ["a kilometre", "the braking distance of a loaded train " * 30, "cake", "Поезд " * 100, "?"]


def reference(model: ModelInfo, source: Path) -> Reference:
    torch_model = load_torch_model(source, model.task)
    return Reference(
        torch_model, source / "tokenizer.json", max_tokens=MAX_TOKENS, pad_token_id=model.pad_token_id
    )


def test_fp32_embeddings_equal_pytorch(tiny_sources: TinySources, tmp_path: Path) -> None:
    out = build_bundle(tmp_path, embedding=tiny_sources.embedder, quantization="none")
    model = Bundle.open(out).embedding
    assert model is not None
    assert model.inputs == ("input_ids", "attention_mask")
    assert (model.dimensions, model.hidden_size, model.quantization.prepack) == (HIDDEN, HIDDEN, True)
    output = Embedder.open(model, threads=1).embed(TEXTS, "none")
    expected = reference(model, tiny_sources.embedder).embed(TEXTS, "mean")
    assert output.truncated == (2,)
    np.testing.assert_allclose(output.vectors, expected, atol=2e-6)
    np.testing.assert_allclose(np.linalg.norm(output.vectors, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize(("pooling", "mode"), [("cls", "cls_token"), ("last", "lasttoken")])
def test_other_poolings_ignore_padding(
    tiny_sources: TinySources, tmp_path: Path, pooling: str, mode: str
) -> None:
    source = shutil.copytree(tiny_sources.embedder, tmp_path / "copy")
    write_modules(source, pooling=mode)
    out = build_bundle(tmp_path, embedding=source, quantization="none", pooling=pooling)
    model = Bundle.open(out).embedding
    assert model is not None
    found = Embedder.open(model, threads=1).embed(TEXTS, "none").vectors
    np.testing.assert_allclose(found, reference(model, source).embed(TEXTS, pooling), atol=2e-6)


@pytest.mark.parametrize("kind", ["bert_reranker", "xlmr_reranker"])
def test_fp32_logits_equal_transformers_also_for_truncated_pairs(
    tiny_sources: TinySources, tmp_path: Path, kind: str
) -> None:
    source: Path = getattr(tiny_sources, kind)
    out = build_bundle(tmp_path, embedding=tiny_sources.embedder, reranker=source, quantization="none")
    model = Bundle.open(out).reranker
    assert model is not None
    types = ("token_type_ids",) if kind == "bert_reranker" else ()
    assert set(model.inputs) == {"input_ids", "attention_mask", *types}
    assert model.tokenizer_kind == ("wordpiece" if kind == "bert_reranker" else "unigram")
    output = Reranker.open(model, threads=1).score(QUERY, DOCUMENTS)
    expected = reference(model, source).score(QUERY, DOCUMENTS)
    assert output.truncated == (1, 3)
    assert output.logits.shape == (len(DOCUMENTS),)
    assert np.ptp(expected) > 0.01  # a model that says the same to all would prove nothing
    np.testing.assert_allclose(output.logits, expected, atol=5e-5)


def test_int8_is_near_pytorch_and_a_quarter_of_the_size(
    tiny_bundle: Bundle, tiny_sources: TinySources
) -> None:
    model = tiny_bundle.embedding
    assert model is not None
    found = Embedder.open(model, threads=1).embed(TEXTS, "none").vectors
    cosine = (found * reference(model, tiny_sources.embedder).embed(TEXTS, "mean")).sum(axis=1)
    assert cosine.min() > 0.98
    assert (
        model.weights_path.stat().st_size
        < 0.45 * (tiny_sources.embedder / "model.safetensors").stat().st_size
    )
    assert {tensor.dtype for tensor in model.tensors} == {"int8", "float32"}
