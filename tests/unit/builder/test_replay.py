"""A build that chooses what an earlier one recorded, instead of measuring anew."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from builder import cli
from builder.config.load import load_config
from builder.config.schema import BuildConfig, Overrides
from builder.errors import ConfigError
from builder.quantization.activation_scale import choose_scale, read_scales
from lambda_app.bundle import MANIFEST, Bundle, checksum
from tests.support.activation_scales import BY_TOKEN, CONSTANT
from tests.support.builds import build_bundle, write_config
from tests.support.tiny_sources import TinySources

Change = Callable[[dict[str, Any]], object]


def nothing(_build: dict[str, Any]) -> None:
    """Leaves the manifest as it is."""


def recorded(bundle: Path, directory: Path, change: Change = nothing) -> Path:
    """A directory with a bundle's manifest alone, changed."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    change(manifest["build"])
    manifest["checksum"] = checksum(manifest)
    directory.mkdir()
    (directory / MANIFEST).write_text(json.dumps(manifest))
    return directory


def build(directory: Path, sources: TinySources, replay: Path | None = None, **options: Any) -> Bundle:
    directory.mkdir(exist_ok=True)
    return Bundle.open(
        build_bundle(directory, replay=replay, embedding=sources.embedder, parity="off", **options)
    )


def scales(bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = bundle.build["activations"]["embedding"]
    return found


def test_the_manifest_has_the_choice_ranges_and_margin(tiny_bundle: Bundle) -> None:
    assert len(scales(tiny_bundle)) == 8
    for record in scales(tiny_bundle).values():
        assert record["low"] < 0 < record["high"]
        assert record["margin"] == 0.05
        if record["scale"] == "static":
            assert record.keys() == {"scale", "step", "zero", "low", "high", "margin"}
            assert record["step"] == pytest.approx((record["high"] - record["low"]) * 1.05 / 255)
        else:
            assert record.keys() == BY_TOKEN.keys()
    assert {scales(tiny_bundle)[name]["scale"] for name in fused(tiny_bundle)} == {"static"}


@pytest.mark.parametrize("per_token", [False, True])
def test_a_scale_is_read_as_it_was_recorded(per_token: bool) -> None:
    rows = np.random.default_rng(1).normal(size=(50, 8)).astype(np.float32)
    scale = choose_scale(rows, per_token=per_token)
    assert read_scales(json.loads(json.dumps({"x": scale.record()}))) == {"x": scale}


def test_the_same_choices_make_the_same_files(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    again = build(tmp_path / "again", tiny_sources, recorded(tiny_bundle.directory, tmp_path / "manifest"))
    assert scales(again) == scales(tiny_bundle)
    assert tiny_bundle.embedding is not None
    assert again.embedding is not None
    assert again.embedding.files == tiny_bundle.embedding.files
    assert again.embedding.fingerprint == tiny_bundle.embedding.fingerprint


def test_recorded_choices_stand_whatever_the_texts_show(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    first, second, *_ = (name for name in scales(tiny_bundle) if name not in fused(tiny_bundle))
    changed = {first: CONSTANT, second: BY_TOKEN}
    directory = recorded(
        tiny_bundle.directory,
        tmp_path / "manifest",
        lambda made: made["activations"]["embedding"].update(changed),
    )
    again = build(tmp_path / "again", tiny_sources, directory)
    assert scales(again) == scales(tiny_bundle) | changed
    found = constants(again)
    assert found[f"{first}_step"] == np.float32(CONSTANT["step"])
    assert found[f"{first}_zero"] == CONSTANT["zero"]
    assert found[f"{second}_floor"] == np.float32(BY_TOKEN["floor"])


def fused(bundle: Bundle) -> set[str]:
    """The tensors that an attention reads."""
    assert bundle.embedding is not None
    graph = onnx.load(str(bundle.embedding.graph_path), load_external_data=False).graph
    return {node.input[0].removesuffix("_codes") for node in graph.node if node.op_type == "QAttention"}


def constants(bundle: Bundle) -> dict[str, Any]:
    assert bundle.embedding is not None
    graph = onnx.load(str(bundle.embedding.graph_path), load_external_data=False).graph
    kept = [one for one in graph.initializer if one.data_location != onnx.TensorProto.EXTERNAL]
    return {one.name: numpy_helper.to_array(one) for one in kept}


def forget(build: dict[str, Any]) -> None:
    del next(iter(build["activations"]["embedding"].values()))["step"]


def spoil(build: dict[str, Any]) -> None:
    next(iter(build["activations"]["embedding"].values()))["zero"] = 256


def rename(build: dict[str, Any]) -> None:
    found = build["activations"]["embedding"]
    found["/nowhere"] = next(iter(found.values()))


@pytest.mark.parametrize(
    ("change", "message"), [(forget, "cannot be read: KeyError.*step"), (spoil, "zero 256")]
)
def test_records_that_are_not_scales_are_refused(tiny_bundle: Bundle, change: Change, message: str) -> None:
    build: dict[str, Any] = json.loads((tiny_bundle.directory / MANIFEST).read_text())["build"]
    change(build)
    with pytest.raises(ConfigError, match=message):
        read_scales(build["activations"]["embedding"])


def fuse(build: dict[str, Any]) -> None:
    build["activations"]["embedding"] = dict.fromkeys(build["activations"]["embedding"], BY_TOKEN)


@pytest.mark.parametrize(
    ("change", "message"), [(rename, "has a scale for '/nowhere'"), (fuse, "fused attention")]
)
def test_choices_that_cannot_be_made_are_refused(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path, change: Change, message: str
) -> None:
    directory = recorded(tiny_bundle.directory, tmp_path / "manifest", change)
    with pytest.raises(ConfigError, match=message):
        build(tmp_path / "again", tiny_sources, directory)
    assert not (tmp_path / "again" / "models").exists()


def read(directory: Path, replay: Path | None, **options: Any) -> BuildConfig:
    path = write_config(directory, embedding="./somewhere", **options)
    return load_config(path, Overrides(replay=replay), {})


def test_a_manifest_of_another_kind_of_build_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="quantization 'int8', this build 'int4'"):
        read(tmp_path, tiny_bundle.directory, quantization="int4")
    with pytest.raises(ConfigError, match="no model bundle at"):
        read(tmp_path, tmp_path / "nowhere")
    other = recorded(tiny_bundle.directory, tmp_path / "arch", lambda build: build.update(arch="other"))
    with pytest.raises(ConfigError, match="arch 'other'"):
        read(tmp_path, other)
    bad = recorded(tiny_bundle.directory, tmp_path / "bad", lambda build: build.update(activations=[]))
    with pytest.raises(ConfigError, match="form of a manifest"):
        read(tmp_path, bad)


def test_products_of_mixed_are_replayed_too(tiny_bundle: Bundle, tmp_path: Path) -> None:
    chosen = {"embedding": {"/a": "int8", "/b": "int8-block"}}
    directory = recorded(
        tiny_bundle.directory,
        tmp_path / "mixed",
        lambda build: build.update(quantization="mixed", mixed=chosen),
    )
    config = read(tmp_path, directory, quantization="mixed")
    assert config.mixed.assignments == chosen
    assert config.digest() != read(tmp_path, None, quantization="mixed").digest()
    path = tmp_path / "models.toml"
    path.write_text(path.read_text() + '[mixed.embedding]\n"/c" = "int8-block"\n')
    config = load_config(path, Overrides(replay=directory), {})
    assert config.mixed.assignments == {"embedding": {"/c": "int8-block"}}


def test_the_flag(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_config(tmp_path, embedding="./somewhere", quantization="int4")
    arguments = ["--config", str(path), "--replay", str(tiny_bundle.directory)]
    assert cli.main(arguments, {}) == 2
    assert "--replay: " in capsys.readouterr().err
    assert cli.main([*arguments, "--compare", "int8"], {}) == 2
    assert "--replay does not go with --compare" in capsys.readouterr().err
