"""Images with full-size models (random weights), built from this tree and from bundles of the cache."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benchmarks.harness import artefacts
from benchmarks.harness.paths import cache
from benchmarks.harness.stamps import STAMP, digest
from scripts.image.build import LABEL, REPOSITORY, ImageError, build_command, content, docker_program
from scripts.image.info import output
from scripts.paths import ROOT

# Name of an image to the bundle in it; None leaves it out.
BUNDLES: dict[str, str | None] = {"int8": "bundles/int8", "fp32": "bundles/none", "unbundled": None}
# What the Dockerfile copies; the context is made of it and of a bundle from elsewhere.
CONTEXT = (
    *("Dockerfile.lambda", ".dockerignore", "lambda_app", "builder", "build_models.py", "models.toml"),
    *("requirements", "scripts", "LICENSE", "NOTICE"),
)
MADE_FROM = f"{LABEL}made-from"


def image_of(name: str) -> str:
    """Returns the image's name and tag."""
    return f"{REPOSITORY}:full-size-{name}"


def ensure(name: str) -> None:
    """Builds an image, unless it is there and made of what this tree holds now.

    Raises:
        ImageError: Docker could not, or there is none.
    """
    docker = docker_program(os.environ)
    if _label(docker, image_of(name)) != made_from(name):
        build(name, docker)


def build(name: str, docker: str, *flags: str) -> float:
    """Builds an image, with further ``flags`` of ``docker build``; returns the seconds that it took.

    Raises:
        ImageError: Docker could not.
    """
    bundle = BUNDLES[name]
    flags = ("--label", f"{MADE_FROM}={made_from(name)}", *flags)
    return build_from(cache() / bundle if bundle else None, {"IMAGE": image_of(name)}, docker, *flags)


def build_from(bundle: Path | None, settings: Mapping[str, str], docker: str, *flags: str) -> float:
    """Builds an image with a bundle from anywhere, or with none; returns the seconds that it took.

    ``settings`` are those of ``make image``, on top of the environment's.

    Raises:
        ImageError: Docker could not.
    """
    chosen = {"BUNDLE_FROM": "prebuilt"} if bundle else {"BUNDLE_MODELS": "false"}
    settings = {**os.environ, **chosen, **settings}
    held = content(settings, bundle) if bundle else content(settings)
    beside = bundle.parent if bundle else cache()
    beside.mkdir(parents=True, exist_ok=True)
    # Beside the bundle, of which the context has hard links.
    with tempfile.TemporaryDirectory(dir=beside) as scratch:
        context = Path(scratch)
        for part in CONTEXT:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
            copy(ROOT / part, context / part)
        if bundle is not None:
            stamp = shutil.ignore_patterns(STAMP)
            shutil.copytree(bundle, context / "models", copy_function=os.link, ignore=stamp)
        command = build_command(settings, held, docker)
        command[-1:-1] = flags
        began = time.monotonic()
        result = subprocess.run(command, cwd=context, env={**settings, "DOCKER_BUILDKIT": "1"}, check=False)
        seconds = time.monotonic() - began
    if result.returncode:
        raise ImageError(f"the image {settings['IMAGE']} could not be built")
    return seconds


def made_from(name: str) -> str:
    """Returns one hash of what an image is made from."""
    bundle = BUNDLES[name]
    files = [
        path
        for part in CONTEXT
        for path in ((ROOT / part).rglob("*") if (ROOT / part).is_dir() else [ROOT / part])
        if path.is_file() and "__pycache__" not in path.parts
    ]
    return digest(name, artefacts.key(bundle) if bundle else "", files=files)


def _label(docker: str, image: str) -> str | None:
    result = subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False)
    if result.returncode:
        return None
    labels = json.loads(result.stdout)[0]["Config"]["Labels"] or {}
    made: str | None = labels.get(MADE_FROM)
    return made


def layer_directories(docker: str, image: str) -> tuple[list[Path], list[Path]]:
    """Returns where the engine keeps the image's files: those that it adds to its base, and the base's.

    Raises:
        ImageError: the engine keeps them otherwise, or out of this user's reach.
    """
    details = json.loads(output(docker, "image", "inspect", image))[0]
    driver = details.get("GraphDriver") or {}
    if driver.get("Name") != "overlay2":
        raise ImageError(f"Docker keeps images in {driver.get('Name')}: files are only found in overlay2")
    data = driver["Data"]
    found = [Path(place) for place in [data["UpperDir"], *data.get("LowerDir", "").split(":")] if place]
    if not all(os.access(place, os.R_OK | os.X_OK) for place in found):
        raise ImageError("only root, on Docker's own machine, sees the files of an image")
    own = [place for place in found if any((place / part).exists() for part in ("opt/venv", "var/task"))]
    return own, [place for place in found if place not in own]
