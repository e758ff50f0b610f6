"""The scheme that differs by product: how it is searched for, recorded, and made again."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from builder import pipeline
from builder.config.load import load_config
from builder.config.schema import BuildConfig, Mixed, Overrides
from builder.errors import ConfigError
from builder.inputs import gather_inputs
from builder.model import BuiltModel
from builder.progress import Progress
from builder.quantization.mixed import Fidelity, advice, fidelity, replay
from builder.summary import summary
from lambda_app.bundle import Bundle
from tests.support.activation_scales import BY_TOKEN, CONSTANT
from tests.support.tiny_models import config_text
from tests.support.tiny_sources import TinySources

PRODUCTS = 8  # two layers of four


def build(
    directory: Path,
    source: Path,
    extra: str,
    *,
    strict: bool = False,
    activations: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[BuiltModel, str]:
    """The built model, and what was said meanwhile; ``activations`` are scales by tensor."""
    directory.mkdir()
    said = io.StringIO()
    text = config_text(embedding=str(source), quantization="mixed", parity="warn", strict=strict)
    config = read(directory, text + extra)
    config = replace(config, activations={"embedding": activations or {}})
    inputs = gather_inputs(config, directory / "cache", Progress(io.StringIO()))
    (built,) = pipeline.build(config, inputs, directory / "models", Progress(said))
    return built, said.getvalue()


def read(directory: Path, text: str) -> BuildConfig:
    path = directory / "models.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, Overrides(), {"MODEL_EMULATION": "off"})


def counts(assignment: Mapping[str, str] | None) -> dict[str, int]:
    assert assignment is not None
    found = list(assignment.values())
    return {scheme: found.count(scheme) for scheme in ("int8", "int8-block", "fp32")}


@pytest.fixture(scope="module")
def searched(tiny_sources: TinySources, tmp_path_factory: pytest.TempPathFactory) -> tuple[BuiltModel, str]:
    return build(
        tmp_path_factory.mktemp("mixed") / "searched",
        tiny_sources.embedder,
        "[mixed]\nmin_fidelity = 0.9998\nmin_top10_overlap = 0.0\n",
    )


def operators(bundle: Path) -> list[str]:
    graph = onnx.load(str(bundle / "embedding" / "model.onnx"), load_external_data=False).graph
    return [node.op_type for node in graph.node]


def test_as_many_products_are_finer_as_it_takes(
    searched: tuple[BuiltModel, str], tiny_sources: TinySources, tmp_path: Path
) -> None:
    built, said = searched
    found = counts(built.assignment)
    assert sum(found.values()) == PRODUCTS
    assert 0 < found["int8"] < PRODUCTS
    assert f"mixed: {PRODUCTS - found['int8']} of {PRODUCTS} products finer" in said
    lenient = "[mixed]\nmin_fidelity = 0.5\nmin_top10_overlap = 0.0\n"
    coarse, _ = build(tmp_path / "coarse", tiny_sources.embedder, lenient)
    assert counts(coarse.assignment)["int8"] == PRODUCTS
    fine, said = build(tmp_path / "fine", tiny_sources.embedder, "[mixed]\nmin_fidelity = 1.0\n")
    assert counts(fine.assignment) == {"int8": 0, "int8-block": 6, "fp32": 2}
    nodes = operators(tmp_path / "fine" / "models")
    assert (nodes.count("MatMulNBits"), nodes.count("Attention")) == (6, 2)
    assert not {"MatMulIntegerToFloat", "QAttention", "QuantizeLinear"}.intersection(nodes)
    assert "less than the fidelity 1 and top-10 overlap 0.965 asked for" in said
    cosines = [one.info.parity["mean_cosine"] for one in (coarse, built, fine)]
    assert cosines == sorted(cosines)
    assert cosines[0] < cosines[1]


def test_the_graph_is_what_the_assignment_says(searched: tuple[BuiltModel, str]) -> None:
    built, _ = searched
    # The bundle has moved from where it was built.
    found, nodes = counts(built.assignment), operators(built.info.directory.parents[1] / "models")
    assert nodes.count("MatMulNBits") == found["int8-block"]
    assert nodes.count("Attention") == found["fp32"]
    assert nodes.count("QAttention") + nodes.count("Attention") == 2
    assert built.info.quantization.prepack


@pytest.mark.parametrize("scheme", ["fp32", "int8-block"])
@pytest.mark.parametrize("scale", [CONSTANT, BY_TOKEN], ids=["constant", "by token"])
def test_a_product_is_finer_without_its_neighbours(
    searched: tuple[BuiltModel, str],
    tiny_sources: TinySources,
    tmp_path: Path,
    scheme: str,
    scale: Mapping[str, Any],
) -> None:
    assert searched[0].assignment is not None
    # Attention, and the projection that reads it directly: each may be finer without the other, whether its
    # bias is part of the coarse product (a constant step) or a node behind it (a step for each token).
    attention, projection = list(searched[0].assignment)[:2]
    only = {attention if scheme == "fp32" else projection: scheme}
    built, _ = build(
        tmp_path / "one",
        tiny_sources.embedder,
        replay("embedding", only) + "\n",
        activations={"/encoder/layer.0/attention/self/Reshape_3_output_0": scale},
    )
    found = counts(built.assignment)
    assert found == {"int8": PRODUCTS - 1, "int8-block": 0, "fp32": 0} | {scheme: 1}
    nodes = operators(tmp_path / "one" / "models")
    assert (nodes.count("Attention"), nodes.count("MatMulNBits")) == (found["fp32"], found["int8-block"])
    assert nodes.count("QAttention") == 2 - found["fp32"]
    assert nodes.count("MatMulIntegerToFloat") == 6 - found["int8-block"]


def test_a_recorded_assignment_is_made_again(
    searched: tuple[BuiltModel, str], tiny_sources: TinySources, tmp_path: Path
) -> None:
    built, _ = searched
    assert built.assignment is not None
    again, said = build(
        tmp_path / "again", tiny_sources.embedder, replay("embedding", built.assignment) + "\n"
    )
    assert again.assignment == built.assignment
    assert again.info.files == built.info.files
    assert "fidelity" not in said
    manifest = json.loads((tmp_path / "again" / "models" / "manifest.json").read_text())
    assert manifest["build"]["mixed"] == {"embedding": built.assignment}
    assert "[mixed.embedding]" in summary([again], Progress(io.StringIO()))
    Bundle.open(tmp_path / "again" / "models")


@pytest.mark.parametrize(
    ("line", "message"),
    [('"/nowhere" = "int8-block"', "no product '/nowhere'"), ("{name} = 'fp32'", "expected")],
)
def test_an_assignment_for_another_model_is_refused(
    searched: tuple[BuiltModel, str], tiny_sources: TinySources, tmp_path: Path, line: str, message: str
) -> None:
    assert searched[0].assignment is not None
    matmul = next(name for name in searched[0].assignment if "dense" in name)
    extra = "[mixed.embedding]\n" + line.replace("{name}", json.dumps(matmul)) + "\n"
    with pytest.raises(ConfigError, match=message):
        build(tmp_path / "other", tiny_sources.embedder, extra)
    assert not (tmp_path / "other" / "models").exists()


def test_config_errors_name_the_key(tmp_path: Path) -> None:
    text = config_text(embedding="./somewhere", quantization="mixed")
    for extra, message in (
        ("[mixed]\nmin_fidelity = 2\n", "min_fidelity"),
        ("[mixed]\nleast = 0.9\n", "unknown key 'least'"),
        ('[mixed.embedding]\na = "int3"\n', "expected one of int8, int8-block, fp32"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(tmp_path, text + extra)


def test_fidelity_of_vectors_and_of_logits() -> None:
    vectors = np.eye(3, dtype=np.float32)
    assert fidelity(vectors, vectors).cosine == pytest.approx(1)
    # Without what all three have in common, the first and the last point away from each other: -1/2, 1, -1/2.
    assert fidelity(vectors, vectors[::-1]).cosine == pytest.approx(0)
    logits = np.array([[1.0], [2.0], [4.0]], np.float32)
    assert fidelity(logits, logits * 3 + 1).cosine == pytest.approx(1)
    assert fidelity(logits, -logits).cosine == pytest.approx(-1)


def test_neighbours_count_where_a_cosine_hides_that_they_changed() -> None:
    random = np.random.default_rng(1)
    vectors = random.normal(size=(60, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    moved = vectors + random.normal(size=vectors.shape).astype(np.float32) * 0.03
    found = fidelity(vectors, moved / np.linalg.norm(moved, axis=1, keepdims=True))
    assert found.overlap is not None
    assert found.meets(Fidelity(found.cosine, found.overlap))
    assert found.cosine > 0.99
    assert not found.meets(Fidelity(0.99, 0.99))
    assert not found.meets(Fidelity(0.99999, 0.5))
    # A cross-encoder has none.
    assert Fidelity(0.999).meets(Fidelity(0.999, 0.99))


def test_a_model_that_misses_the_gate_says_what_to_raise(tiny_sources: TinySources, tmp_path: Path) -> None:
    found = advice(Mixed(0.9992), "embedding")
    assert found == "raise min_fidelity in [mixed], from 0.9992 to 0.9996 for instance"
    _, said = build(tmp_path / "all-int8", tiny_sources.embedder, "[mixed.embedding]\n", strict=True)
    assert re.search(r"parity_failed.*mean_cosine.*; leave \[mixed.embedding\] out", said)


def test_a_cross_encoder_keeps_its_logits(tiny_sources: TinySources, tmp_path: Path) -> None:
    text = config_text(reranker=str(tiny_sources.xlmr_reranker), quantization="mixed", parity="warn")
    config = read(tmp_path, text + "[mixed]\nmin_fidelity = 1.0\n")
    inputs = gather_inputs(config, tmp_path / "cache", Progress(io.StringIO()))
    said = io.StringIO()
    (built,) = pipeline.build(config, inputs, tmp_path / "models", Progress(said))
    assert counts(built.assignment) == {"int8": 0, "int8-block": 6, "fp32": 2}
    assert built.info.parity["rank_agreement"] > 0.98
    found = re.search(r"fidelity ([\d.]+) on the calibration texts", said.getvalue())
    assert found
    assert float(found[1]) > 0.99
