"""The image for arm64, from the same Dockerfile, built and asked under emulation.

`.ci/engine.py arm64` (Debian, root) makes what that takes elsewhere: a base, and QEMU for the kernel.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.images import build_from
from scripts.image.build import REPOSITORY
from scripts.image.info import INSPECT, run_inside
from scripts.local.container import Container
from scripts.local.rie import Emulator
from tests.support.builds import run_cli, write_config
from tests.support.function_checks import SERVED_EVENTS
from tests.support.image_fixtures import has_image
from tests.support.tiny_sources import TinySources

pytestmark = [pytest.mark.image, pytest.mark.long]

BASE = "python:3.13-slim-arm64"
NAME = f"{REPOSITORY}:test-arm64"
EMBED = {"action": "embed", "texts": ["Yellow fever is transmitted by mosquitoes.", "zażółć 東京 🦟"]}
RERANK = {"action": "rerank", "query": "yellow fever", "documents": ["mosquitoes", "bread", "yellow fever"]}


@pytest.fixture(scope="module")
def arm64_bundle(tiny_sources: TinySources, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("arm64")
    config = write_config(root, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker)
    built = run_cli("--config", config, "--arch", "arm64", "--out", root / "models")
    assert built.returncode == 0, built.stderr
    return root / "models"


@pytest.fixture(scope="module")
def arm64_image(docker: str, arm64_bundle: Path) -> Iterator[str]:
    if not has_image(docker, BASE):
        pytest.skip(f"there is no image {BASE}: `.ci/engine.py arm64` makes it")
    command = [docker, "run", "--rm", "--platform", "linux/arm64", BASE, "python3", "--version"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("arm64 programs do not run here: `.ci/engine.py arm64` sees to it")
    build_from(arm64_bundle, {"IMAGE": NAME, "PYTHON_IMAGE": BASE, "ARCH": "arm64"}, docker)
    yield NAME
    subprocess.run([docker, "image", "rm", NAME], check=True, capture_output=True)


@pytest.fixture(scope="module")
def arm64_container(docker: str, arm64_image: str) -> Iterator[Container]:
    with Container(arm64_image, cpus=2, docker=docker) as running:
        yield running


def test_what_is_in_it_is_for_arm64(docker: str, arm64_image: str) -> None:
    described = json.loads(subprocess.check_output([docker, "image", "inspect", arm64_image]))[0]
    assert described["Architecture"] == "arm64"
    found = run_inside(docker, arm64_image, INSPECT)
    assert found["machine"] == "aarch64"
    assert {model["bits"] for model in found["models"]} == {8}
    assert found["verified_bytes"] > 1e5


@pytest.mark.parametrize("path", SERVED_EVENTS, ids=lambda path: path.stem)
def test_every_event_is_answered(arm64_container: Container, path: Path) -> None:
    answer = arm64_container.invoke(json.loads(path.read_text(encoding="utf-8")))
    assert "errorMessage" not in answer, answer
    if isinstance(answer, dict):
        assert answer.get("statusCode", 200) == 200
    assert ("error" in answer) is (path.stem == "malformed")


def test_answers_are_those_of_this_machine(arm64_container: Container, arm64_bundle: Path) -> None:
    with Emulator({"MODEL_DIR": str(arm64_bundle)}) as here:
        vectors = [np.array(one.invoke(EMBED)["embeddings"]) for one in (arm64_container, here)]
        scores = [
            {result["index"]: result["score"] for result in one.invoke(RERANK)["results"]}
            for one in (arm64_container, here)
        ]
    cosines = (vectors[0] * vectors[1]).sum(axis=1)
    assert cosines.min() > 0.999, cosines
    assert scores[0] == pytest.approx(scores[1], abs=0.01)
