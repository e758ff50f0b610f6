"""Every family that the build carries over, at tiny size, against sentence-transformers on the same files."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.checks import families
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest
from lambda_app.settings import Settings
from tests.support.builds import build_bundle
from tests.support.fakes import FakeRuntime, invocation
from tests.support.invariance import check_invariance
from tests.support.tiny_families import FAMILIES, tiny_cross_encoder, tiny_embedder
from tests.support.tiny_models import HIDDEN, write_json

TEXTS = [
    "short",
    "a rather longer text about trains, cakes and the moon",
    "long words and more of them, " * 40,
    "夜行列車 и поезд, naïve café",
    "x",
]
QUERY = "how long does a train need to stop?"
DOCUMENTS = ["a kilometre", "the braking distance of a loaded train " * 30, "cake", "Поезд " * 60, "?"]

# Pooling as modules.json names it and as the config does; Dense layers.
HEADS: dict[str, tuple[str, str, Sequence[tuple[int, str, bool]]]] = {
    "bert": ("mean_tokens", "mean", []),
    "roberta": ("lasttoken", "last", []),
    "xlm-roberta": ("cls_token", "cls", []),
    "camembert": ("mean_tokens", "mean", [(24, "ReLU", True)]),
    "mpnet": ("mean_tokens", "mean", [(48, "Tanh", True)]),
    "distilbert": ("mean_tokens", "mean", [(64, "GELU", True), (16, "Identity", False)]),
    "modernbert": ("cls_token", "cls", [(40, "Sigmoid", True)]),
}
ACTIVATIONS = {"bert": None, "roberta": "Identity", "xlm-roberta": "Sigmoid", "modernbert": "Identity"}


def sentence_transformer(source: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from sentence_transformers import SentenceTransformer
    return SentenceTransformer(str(source), device="cpu", local_files_only=True)


def cross_encoder(source: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import CrossEncoder
    return CrossEncoder(str(source), device="cpu", local_files_only=True)


def embedded(out: Path) -> tuple[ModelInfo, np.ndarray]:
    model = Bundle.open(out).embedding
    assert model is not None
    return model, Embedder.open(model, threads=1).embed(TEXTS, "none").vectors


def scored(out: Path) -> tuple[ModelInfo, np.ndarray]:
    model = Bundle.open(out).reranker
    assert model is not None
    logits = Reranker.open(model, threads=1).score(QUERY, DOCUMENTS).logits
    return model, 1 / (1 + np.exp(-logits)) if model.activation == "sigmoid" else logits


def test_every_family_is_tested() -> None:
    assert FAMILIES.keys() == families.FAMILIES.keys() == HEADS.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_what_sentence_transformers_gives(family: str, tmp_path: Path) -> None:
    mode, pooling, dense = HEADS[family]
    source = tiny_embedder(tmp_path / "embedder", family, pooling=mode, dense=dense)
    declared = ACTIVATIONS.get(family)
    ranker = tiny_cross_encoder(tmp_path / "ranker", family, activation=declared)
    options = {"embedding": source, "reranker": ranker, "pooling": pooling}
    activation = (declared or "Sigmoid").lower()

    out = build_bundle(tmp_path, **options, activation=activation, quantization="none")
    model, vectors = embedded(out)
    assert (model.architecture, model.pooling, model.hidden_size) == (family, pooling, HIDDEN)
    assert model.dimensions == (dense[-1][0] if dense else HIDDEN)
    assert model.inputs == ("input_ids", "attention_mask")
    expected = sentence_transformer(source).encode(TEXTS)
    assert np.abs(expected @ expected.T - 1).max() > 0.01  # vectors that are all alike would prove nothing
    np.testing.assert_allclose(vectors, expected, atol=5e-6)

    judge, scores = scored(out)
    assert (judge.architecture, judge.activation) == (family, activation)
    assert set(judge.inputs) == set(FAMILIES[family].inputs)
    expected_scores = cross_encoder(ranker).predict([(QUERY, document) for document in DOCUMENTS])
    assert np.ptp(expected_scores) > 0.005
    np.testing.assert_allclose(scores, expected_scores, atol=5e-5)

    (tmp_path / "int8").mkdir()
    quantized = build_bundle(tmp_path / "int8", **options, activation=activation)
    small, near = embedded(quantized)
    assert (near * expected).sum(axis=1).min() > 0.95
    assert any(tensor.dtype == "int8" and "mbeddings" in tensor.name for tensor in small.tensors)
    assert any(tensor.dtype == "int8" and "mbeddings" not in tensor.name for tensor in small.tensors)
    assert np.abs(scored(quantized)[1] - expected_scores).max() < 0.5 * max(1, np.ptp(expected_scores))
    for one in Bundle.open(quantized).models():
        check_invariance(one)


@pytest.mark.parametrize("family", ["roberta", "mpnet", "modernbert"])
def test_vectors_do_not_depend_on_what_they_are_padded_to(family: str, tmp_path: Path) -> None:
    source = tiny_embedder(tmp_path / "embedder", family)
    model, together = embedded(build_bundle(tmp_path, embedding=source, quantization="none"))
    embedder = Embedder.open(model, threads=1)
    alone = np.concatenate([embedder.embed([text], "none").vectors for text in TEXTS])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_the_gate_knows_dense_layers_and_byte_level_tokenizers(tmp_path: Path) -> None:
    source = tiny_embedder(tmp_path / "embedder", "modernbert", dense=[(48, "Tanh", True)])
    model, _ = embedded(build_bundle(tmp_path, embedding=source, quantization="none", parity="fail"))
    assert model.parity["mean_cosine"] > 0.99999
    assert model.parity["tokenizer"]["first_difference"] is None


def test_prompts_dimensions_and_a_missing_normalize(tmp_path: Path) -> None:
    source = tiny_embedder(tmp_path / "embedder", "bert", normalize=False)
    prompts = {"query": "search_query: ", "document": "search_document: "}
    write_json(source, "config_sentence_transformers.json", {"prompts": prompts})
    options = {"embedding": source, "dimensions": [8, 16], "normalize": True}
    out = build_bundle(tmp_path, **options, quantization="none", parity="fail")
    model = Bundle.open(out).embedding
    assert model is not None
    assert model.matryoshka == (16, 8)
    assert [figures["min_cosine"] > 0.9999 for figures in model.parity["matryoshka"].values()] == [True] * 2
    assert model.prompts == {"query": prompts["query"], "passage": prompts["document"]}
    reference = sentence_transformer(source)
    embedder = Embedder.open(model, threads=1)
    for input_type, encode in (("query", reference.encode_query), ("passage", reference.encode_document)):
        found = embedder.embed(TEXTS, input_type).vectors  # type: ignore[arg-type]  # one of the literals
        np.testing.assert_allclose(found, encode(TEXTS, normalize_embeddings=True), atol=2e-6)
    runtime = FakeRuntime(Settings.from_env({}))
    runtime.embedder = embedder  # type: ignore[assignment]  # the real one
    for dimensions in (16, 8):
        request = EmbedRequest(TEXTS, "query", dimensions=dimensions)
        service = Service(runtime)  # type: ignore[arg-type]  # as much as it uses
        found = service.embed(request, invocation()).vectors
        expected = reference.encode_query(TEXTS, truncate_dim=dimensions, normalize_embeddings=True)
        np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_cross_encoder_without_its_pooler_is_refused(tmp_path: Path) -> None:
    """transformers would fill in random numbers, and the scores would be noise."""
    from safetensors.torch import load_file, save_file

    from builder.errors import ModelMismatchError

    source = tiny_cross_encoder(tmp_path / "ranker", "bert")
    weights = load_file(source / "model.safetensors")
    kept = {name: value for name, value in weights.items() if "pooler" not in name}
    save_file(kept, source / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelMismatchError, match=r"weights lack 'bert\.pooler"):
        build_bundle(tmp_path, reranker=source)
