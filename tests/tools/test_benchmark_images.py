"""Images as contenders: their layers, their builds, and where they can be run."""

import json
import os
from pathlib import Path

import pytest

from benchmarks import coldstart
from benchmarks.harness import images
from benchmarks.harness.contender import CONTENDERS
from benchmarks.measure.run import files_of
from scripts.image.build import ImageError


@pytest.fixture
def layered_docker(tmp_path: Path) -> tuple[str, Path]:
    """A Docker client that knows one image, and where its layers are."""
    layers = tmp_path / "layers"
    for part in ("code/var/task", "models/var/task/models", "dependencies/opt/venv", "base/usr"):
        (layers / part).mkdir(parents=True)
    data = {
        "UpperDir": str(layers / "code"),
        "LowerDir": ":".join(str(layers / name) for name in ("models", "dependencies", "base")),
    }
    details = [{"GraphDriver": {"Name": "overlay2", "Data": data}, "Config": {"Labels": {"a": "b"}}}]
    (tmp_path / "details.json").write_text(json.dumps(details), encoding="utf-8")
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\n[ "$1 $2" = "image inspect" ] || exit 0\ncat {tmp_path}/details.json\n')
    client.chmod(0o755)
    return str(client), layers


def test_the_layers_of_an_image_are_its_own_or_its_bases(layered_docker: tuple[str, Path]) -> None:
    docker, layers = layered_docker
    own, base = images.layer_directories(docker, "image")
    assert own == [layers / "code", layers / "models", layers / "dependencies"]
    assert base == [layers / "base"]


def test_the_models_of_an_image_do_not_count_as_code(
    layered_docker: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER", layered_docker[0])
    layers = layered_docker[1]
    model, code = layers / "models/var/task/models/model.bin", layers / "code/var/task/handler.py"
    for path in (model, code, layers / "base/usr/python3"):
        path.touch()
    contender = next(one for one in CONTENDERS if one.contained)
    assert files_of(contender) == ([model.resolve()], [code.resolve()])
    assert contender.interpreter_files() == [(layers / "base/usr/python3").resolve()]


def test_layers_that_are_kept_otherwise_are_refused(layered_docker: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "details.json").write_text('[{"GraphDriver": {"Name": "overlayfs"}}]', encoding="utf-8")
    with pytest.raises(ImageError, match="overlayfs: files are only found in overlay2"):
        images.layer_directories(layered_docker[0], "image")


def test_an_image_is_built_again_when_what_it_is_made_of_has_changed(
    layered_docker: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setenv("DOCKER", layered_docker[0])
    monkeypatch.setattr(images, "build", lambda name, docker: built.append(name))
    images.ensure("unbundled")
    assert built == ["unbundled"]
    details = json.loads((tmp_path / "details.json").read_bytes())
    details[0]["Config"]["Labels"][images.MADE_FROM] = images.made_from("unbundled")
    (tmp_path / "details.json").write_text(json.dumps(details), encoding="utf-8")
    images.ensure("unbundled")
    assert built == ["unbundled"]


def test_the_image_competes_where_it_can_be_run(
    layered_docker: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("DOCKER", layered_docker[0])
    assert coldstart.default_contenders() == [one.name for one in CONTENDERS]
    monkeypatch.setenv("DOCKER", "no-such-docker")
    assert coldstart.default_contenders() == [one.name for one in CONTENDERS if one.name != "ours-image"]
    assert "left out: ours-image (no no-such-docker here" in capsys.readouterr().err
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "ours-image" not in coldstart.default_contenders()
    assert "only root" in capsys.readouterr().err
