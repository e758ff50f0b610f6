"""The image under test: IMAGE names it, or it is the one that `make image` built last."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.image.build import BUILT, ImageError, docker_program
from scripts.local.container import Container
from scripts.local.rie import can_emulate

# The image with both full-size models, for the long tests: `python -m benchmarks.image build` makes it.
FULL_SIZE = "lambda-embed-rerank:full-size-int8"


@pytest.fixture(scope="session")
def docker() -> str:
    """Docker's client; tests that need an engine are skipped where none answers."""
    if not can_emulate():
        pytest.skip("the image's tests run the emulator, which is a Linux program")
    try:
        return docker_program(os.environ)
    except ImageError as error:
        pytest.skip(f"no image can be run here: {error}")


@pytest.fixture(scope="session")
def image(docker: str) -> str:
    """Name of the image under test."""
    name = os.environ.get("IMAGE") or (BUILT.read_text(encoding="utf-8").strip() if BUILT.exists() else "")
    if not name:
        pytest.skip("no image was built here: `make image` does it, or IMAGE names one")
    if not has_image(docker, name):
        pytest.fail(f"there is no image {name}: `make image` builds one")
    return name


@pytest.fixture(scope="session")
def full_size_image(docker: str) -> str:
    """Name of the image with both full-size models."""
    if not has_image(docker, FULL_SIZE):
        pytest.skip(f"there is no image {FULL_SIZE}: `python -m benchmarks.image` makes it")
    return FULL_SIZE


def has_image(docker: str, name: str) -> bool:
    return (
        subprocess.run([docker, "image", "inspect", name], capture_output=True, check=False).returncode == 0
    )


@pytest.fixture(scope="module")
def container(docker: str, image: str) -> Iterator[Container]:
    """The image with the memory size that buys one CPU."""
    with Container(image, docker=docker) as running:
        yield running


@pytest.fixture(scope="session")
def bundle_copy(docker: str, image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's own bundle, copied out of it."""
    directory = tmp_path_factory.mktemp("bundle")
    created = subprocess.check_output([docker, "create", image], text=True).strip()
    try:
        subprocess.run(
            [docker, "cp", f"{created}:/var/task/models", str(directory)], check=True, capture_output=True
        )
    finally:
        subprocess.run([docker, "rm", created], check=True, capture_output=True)
    # Lambda's user reads it where it is mounted.
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert json.loads((directory / "models" / "manifest.json").read_bytes())["models"]
    return directory / "models"
