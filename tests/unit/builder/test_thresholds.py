"""Builds that the gate has to refuse: bounds lie between the right build and the least of these errors."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from builder import pipeline
from builder.cli import cache_directory
from builder.config.load import load_config
from builder.config.schema import BuildConfig, EmbeddingConfig, Overrides
from builder.config.source_spec import LocalSource
from builder.inputs import gather_inputs
from builder.parity import fidelity, gate
from builder.parity.data import load_rankings, load_texts
from builder.parity.published import PublishedCrossEncoder, PublishedEmbedder
from builder.progress import Progress
from builder.quantization.activation_scale import ActivationScale
from builder.quantization.calibration import Batch
from builder.quantization.int8 import Recipe, quantize_int8
from builder.quantization.schemes import SCHEMES
from builder.quantization.thresholds import THRESHOLDS, quality_bounds
from builder.sources.files import ModelFiles
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker
from tests.support.builds import ROOT, build_bundle
from tests.support.damage import Change, damaged, off_by_a_fifth, scales_of, shuffled, weights_of
from tests.support.tiny_models import MAX_TOKENS, bert_embedder
from tests.support.trained_cross_encoder import train_cross_encoder

PROMPTS = {"query": "query: ", "passage": "passage: "}
FP32 = THRESHOLDS["none"].embedding


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModelInfo, EmbeddingConfig]]:
    """An FP32 bundle of a tiny embedder with prompts, whose pooling only the config knows."""
    directory = tmp_path_factory.mktemp("tiny")
    source = bert_embedder(directory / "source")
    (source / "modules.json").unlink()
    out = build_bundle(directory, embedding=source, quantization="none", prompts=PROMPTS)
    model = Bundle.open(out).embedding
    assert model is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "FUZZ_TEXTS", 8)
        yield model, EmbeddingConfig(LocalSource(source), "tiny", "mean", MAX_TOKENS, PROMPTS, (), False)


def failures(model: ModelInfo, config: EmbeddingConfig) -> list[str]:
    assert isinstance(config.source, LocalSource)
    found: list[str] = gate.check_embedder(model, config.source.path, config, FP32)["failures"]
    return found


def test_the_right_build_passes(tiny: tuple[ModelInfo, EmbeddingConfig]) -> None:
    assert failures(*tiny) == []


def test_prompts_left_out(tiny: tuple[ModelInfo, EmbeddingConfig]) -> None:
    model, config = tiny
    for prompts in ({}, {"query": PROMPTS["query"]}):
        assert any("centred" in one for one in failures(model._replace(prompts=prompts), config))


def test_wrong_pooling(tiny: tuple[ModelInfo, EmbeddingConfig]) -> None:
    model, config = tiny
    assert any("centred" in one for one in failures(model, replace(config, pooling="cls")))


def test_one_layer_shuffled(tiny: tuple[ModelInfo, EmbeddingConfig], tmp_path: Path) -> None:
    model, config = tiny
    name = next(iter(weights_of(model)))
    assert any("centred" in one for one in failures(damaged(model, tmp_path / "x", name, shuffled), config))


@pytest.fixture(scope="module")
def expected(minilm: ModelFiles) -> NDArray[np.float32]:
    """What sentence-transformers gives for the gate's texts."""
    config = EmbeddingConfig(LocalSource(minilm.directory), "MiniLM", "mean", 256, {}, (), False)
    return PublishedEmbedder(minilm.directory, config).embed(load_texts())


def built(config: BuildConfig, directory: Path) -> ModelInfo:
    """The only model of a config's bundle."""
    progress = Progress(io.StringIO())
    inputs = gather_inputs(config, cache_directory(os.environ), progress)
    pipeline.build(config, inputs, directory / "models", progress)
    return next(iter(Bundle.open(directory / "models").models()))


def minilm_config(scheme: str) -> BuildConfig:
    return load_config(ROOT / "models.minilm.toml", Overrides(quantization=scheme, parity="off"), {})


def missed(scheme: str, model: ModelInfo, expected: NDArray[np.float32]) -> list[str]:
    """The scheme's thresholds that an embedder does not meet."""
    found = Embedder.open(model, threads=2).embed(load_texts(), "passage").vectors
    figures = fidelity.compare_vectors(expected, found)
    return fidelity.missed(figures, quality_bounds(THRESHOLDS[scheme].embedding))


def passing(
    model: ModelInfo,
    directory: Path,
    damages: Sequence[tuple[str, Change]],
    failures: Callable[[ModelInfo], list[str]],
) -> list[str]:
    """The damages that no threshold shows, by the tensor that has one."""
    assert damages
    return [name for name, change in damages if not failures(damaged(model, directory, name, change))]


@pytest.mark.minilm
@pytest.mark.long
@pytest.mark.parametrize("scheme", ["int8", "int8-block", "int4"])
def test_damaged_embedders_with_real_weights(
    scheme: str, expected: NDArray[np.float32], tmp_path: Path
) -> None:
    model = built(minilm_config(scheme), tmp_path)
    assert missed(scheme, model, expected) == []
    assert missed(scheme, model._replace(prompts={"passage": "passage: "}), expected) != []
    damages = [
        *((name, off_by_a_fifth) for name in scales_of(model)),
        *((name, shuffled) for name in weights_of(model)),
    ]
    assert passing(model, tmp_path / "x", damages, lambda one: missed(scheme, one, expected)) == []


@pytest.mark.minilm
@pytest.mark.long
@pytest.mark.parametrize("recipe", [Recipe(smooth=False, compensate=False), Recipe(smooth=False)])
def test_int8_without_smoothing(
    recipe: Recipe, expected: NDArray[np.float32], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def plain(
        source: Path,
        target: Path,
        _arch: str,
        batches: Sequence[Batch],
        _recorded: Mapping[str, ActivationScale],
    ) -> dict[str, ActivationScale]:
        return quantize_int8(source, target, batches, bits=7, recipe=recipe).scales

    monkeypatch.setitem(SCHEMES, "int8", replace(SCHEMES["int8"], quantize=plain))
    assert missed("int8", built(minilm_config("int8"), tmp_path), expected) != []


@pytest.fixture(scope="module")
def cross_encoder(minilm: ModelFiles, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_cross_encoder(minilm.directory, tmp_path_factory.mktemp("trained") / "reranker")


@pytest.mark.minilm
@pytest.mark.long
def test_damaged_cross_encoders_with_trained_weights(cross_encoder: Path, tmp_path: Path) -> None:
    text = f'[reranker]\nsource = "{cross_encoder}"\nmax_tokens = 256\nactivation = "sigmoid"\n'
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    config = load_config(tmp_path / "models.toml", Overrides(parity="off"), {})
    assert config.reranker is not None
    rankings = load_rankings()
    reference = PublishedCrossEncoder(cross_encoder, config.reranker)
    scores = [reference.score(query, documents) for query, documents in rankings]

    def failures(model: ModelInfo) -> list[str]:
        reranker = Reranker.open(model, threads=2)
        found = [reranker.score(query, documents).logits for query, documents in rankings]
        figures = fidelity.compare_logits(scores, found)
        return fidelity.missed(figures, quality_bounds(config.thresholds.reranker))

    model = built(config, tmp_path)
    assert failures(model) == []
    # A scale of the last layers that is 20% off moves scores less than rounding does.
    damages = [(name, shuffled) for name in weights_of(model)]
    assert passing(model, tmp_path / "x", damages, failures) == []
