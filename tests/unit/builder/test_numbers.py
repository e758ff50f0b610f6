"""The numbers of built models against PyTorch's: cross-encoders of two kinds, poolings, FP32, INT8, cuts."""

import json
from pathlib import Path

import numpy as np
import pytest

from builder.graph.reference import Reference, load_torch_model
from builder.parity import gate as parity
from lambda_app.bundle import Bundle, ModelInfo, verify_bundle
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker
from tests.support.builds import build_bundle, tiny_config
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
    source = copied(tiny_sources.embedder, tmp_path)
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


def test_weights_lie_where_the_manifest_says(tiny_bundle: Bundle) -> None:
    for model in tiny_bundle.models():
        end = 0
        for tensor in model.tensors:
            assert tensor.offset % 64 == 0
            assert end <= tensor.offset < end + 4096
            assert tensor.bytes == np.dtype(tensor.dtype).itemsize * np.prod(tensor.shape)
            end = tensor.offset + tensor.bytes
        assert model.weights_path.stat().st_size == end
        sparse = [tensor.sparse for tensor in model.tensors]
        assert sparse == sorted(sparse, reverse=True)


def test_embedding_rows_have_a_scale_each(tiny_bundle: Bundle, tiny_sources: TinySources) -> None:
    from safetensors.numpy import load_file

    model = tiny_bundle.embedding
    assert model is not None
    data = model.weights_path.read_bytes()
    arrays = {
        tensor.name: np.frombuffer(data, tensor.dtype, int(np.prod(tensor.shape)), tensor.offset).reshape(
            tensor.shape
        )
        for tensor in model.tensors
    }
    (rows,) = (array for name, array in arrays.items() if name.endswith("word_embeddings.weight_int8"))
    (scales,) = (array for name, array in arrays.items() if name.endswith("word_embeddings.weight_scale"))
    expected = load_file(tiny_sources.embedder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert scales.shape == (len(expected), 1)
    assert np.abs(rows * scales - expected).max() <= scales.max() / 2 + 1e-7
    # Seven bits everywhere else: no product sum overflows AVX2's 16 bits.
    for name, array in arrays.items():
        if array.dtype == np.int8 and "word_embeddings" not in name:
            assert np.abs(array.astype(int)).max() <= 64


def test_the_same_sources_give_the_same_files(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    out = build_bundle(tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker)
    again = Bundle.open(out)
    assert verify_bundle(out) > 0
    for one, other in zip(tiny_bundle.models(), again.models(), strict=True):
        assert one.files == other.files
        assert one.fingerprint == other.fingerprint
    assert tiny_bundle.build == again.build


def test_arm64_keeps_eight_bits(tiny_sources: TinySources, tmp_path: Path) -> None:
    from dataclasses import replace

    from builder import pipeline
    from builder.inputs import gather_inputs
    from builder.progress import Progress

    config = replace(tiny_config(tmp_path, embedding=tiny_sources.embedder), arch="arm64")
    progress = Progress()
    built = pipeline.build(config, gather_inputs(config, tmp_path, progress), tmp_path / "models", progress)
    quantization = built[0].info.quantization
    assert (quantization.weight_bits, quantization.instruction_sets[0]) == (8, "neon")


def test_parity_report_and_a_sabotaged_bundle(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker)
    embedding, reranker = tiny_bundle.embedding, tiny_bundle.reranker
    assert embedding is not None
    assert reranker is not None
    good = parity.check_embedder(embedding, tiny_sources.embedder, config.thresholds.embedding)
    assert good["passed"], good
    assert good["texts"] > 200
    assert good["tokenizer"]["first_difference"] is None
    ranked = parity.check_reranker(reranker, tiny_sources.xlmr_reranker, config.thresholds.reranker)
    assert ranked["passed"], ranked
    assert ranked["rank_agreement"] > 0.9

    broken = copied(tiny_bundle.directory, tmp_path)
    weights = broken / "embedding" / "model.bin"
    data = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    for tensor in embedding.tensors:
        if tensor.dtype == "int8" and tensor.name.endswith("_int8"):
            data[tensor.offset : tensor.offset + tensor.bytes] = 1
    weights.write_bytes(data.tobytes())
    altered = embedding._replace(directory=broken / "embedding")
    bad = parity.check_embedder(altered, tiny_sources.embedder, config.thresholds.embedding)
    assert not bad["passed"]
    assert any("mean_cosine" in failure or "top10_overlap" in failure for failure in bad["failures"])

    # Plain ASCII goes by the first, the rest through the library by the second.
    for name in ("wordpiece.json", "tokenizer.json"):
        tokenizer = broken / "embedding" / name
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        assert content["normalizer"]["lowercase"] is True
        content["normalizer"]["lowercase"] = False
        tokenizer.write_text(json.dumps(content), encoding="utf-8")
    other = parity.check_embedder(altered, tiny_sources.embedder, config.thresholds.embedding)
    assert any(failure.startswith("token ids differ") for failure in other["failures"])


def copied(source: Path, parent: Path) -> Path:
    from shutil import copytree

    return copytree(source, parent / "copy")
