"""Builds the function's image: ``python -m scripts.image.build`` (``make image``).

Standard library only, so that an image can be built where nothing but Python and Docker is installed. The
variables of ``make image`` (``make help`` and the README list them) become the Dockerfile's arguments.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.config.load import load_config
from builder.config.schema import BI_ENCODER, DEFAULT_CONFIG, Overrides
from builder.config.source_spec import describe_source
from builder.errors import BuildError
from lambda_app import __version__
from lambda_app.bundle import Bundle, verify_bundle
from lambda_app.errors import BundleError
from scripts.paths import ROOT

DOCKERFILE = "Dockerfile.lambda"
REPOSITORY = "lambda-embed-rerank"
MODELS = ROOT / "models"
# Name of the image that was built last, for what comes after (`make image-info`, `make test-image`).
BUILT = ROOT / ".cache" / "image.txt"
BUNDLE_CHOICES = ("built", "prebuilt", "none")
PLATFORMS = {"x86_64": "linux/amd64", "arm64": "linux/arm64"}
# What the Dockerfile takes as it is given, when it is given.
BUILD_ARGUMENTS = (
    *("PYTHON_IMAGE", "BUILD_IMAGE", "BUNDLE_FROM", "BUNDLE_MODELS", "CONFIG", "EMBEDDING_MODEL"),
    *(
        "RERANKER_MODEL",
        "QUANTIZATION",
        "USE_QUANTIZATION",
        "MODEL_PARITY",
        "MODEL_VERSION",
        "TORCH_INDEX_URL",
    ),
    *("EXTRAS", "HF_ENDPOINT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
)
DEFAULT_VERSION = "v1"
LABEL = "lambda-embed-rerank."


class ImageError(Exception):
    """What keeps the image from being built, and what to do about it."""


@dataclass(frozen=True, slots=True)
class Content:
    """What an image will hold: the labels that say so, and the tag's part that names models and scheme."""

    name: str
    labels: Mapping[str, str]


def bundle_choice(environ: Mapping[str, str]) -> str:
    """``built``, ``prebuilt`` or ``none``.

    Raises:
        ImageError: BUNDLE_FROM or BUNDLE_MODELS has another value.
    """
    chosen = environ.get("BUNDLE_FROM") or "built"
    if chosen not in BUNDLE_CHOICES:
        raise ImageError(f"BUNDLE_FROM is {chosen!r}: one of {', '.join(BUNDLE_CHOICES)}")
    bundled = environ.get("BUNDLE_MODELS") or "true"
    if bundled not in {"true", "false"}:
        raise ImageError(f"BUNDLE_MODELS is {bundled!r}: true or false")
    return chosen if bundled == "true" else "none"


def content(environ: Mapping[str, str], models: Path = MODELS) -> Content:
    """What the image will hold, from the config or the bundle's own manifest.

    Raises:
        ImageError: there is no bundle where one was promised, or the configuration cannot be used.
    """
    choice = bundle_choice(environ)
    if choice == "none":
        return Content("unbundled", {})
    return _from_bundle(models) if choice == "prebuilt" else _from_config(environ)


def _from_bundle(models: Path) -> Content:
    try:
        bundle = Bundle.open(models)
        verify_bundle(models)
    except BundleError as error:
        raise ImageError(f"BUNDLE_FROM=prebuilt: {error.message}") from None
    labels: dict[str, str] = {}
    for model in bundle.models():
        labels[model.task] = f"{model.id}@{model.source.get('revision', '')}".rstrip("@")
        labels[f"{model.task}.fingerprint"] = model.fingerprint
        labels["quantization"] = model.quantization.scheme
    return Content(_name(labels), labels)


def _from_config(environ: Mapping[str, str]) -> Content:
    path = ROOT / (environ.get("CONFIG") or DEFAULT_CONFIG)
    try:
        config = load_config(path, Overrides(quantization=environ.get("QUANTIZATION") or None), environ)
    except BuildError as error:
        raise ImageError(str(error)) from None
    labels = {"quantization": config.quantization}
    for task, model in (("embedding", config.embedding), ("reranker", config.reranker)):
        if model is not None:
            labels[task] = f"{model.id}@{describe_source(model.source).get('revision') or ''}".rstrip("@")
    if config.rerank_kind == BI_ENCODER:
        labels["reranker"] = BI_ENCODER
    return Content(_name(labels), labels)


def _name(labels: Mapping[str, str]) -> str:
    """Model and scheme as a tag has them: ``intfloat/e5-base-v2@...`` in INT8 is ``e5-base-int8``."""
    model = labels.get("embedding") or labels["reranker"]
    short = re.sub(r"-v\d[\d.]*$", "", model.partition("@")[0].rpartition("/")[2].lower())
    scheme = "fp32" if labels["quantization"] == "none" else labels["quantization"]
    return re.sub(r"[^a-z0-9._-]+", "-", f"{short}-{scheme}").strip("-.")


def image_name(environ: Mapping[str, str], held: Content) -> str:
    """The image's name and tag: IMAGE, or one of models, quantization, version, extras and architecture."""
    version = environ.get("MODEL_VERSION") or DEFAULT_VERSION
    more = [value for name in ("EXTRAS", "ARCH") if (value := environ.get(name))]
    return environ.get("IMAGE") or "-".join([f"{REPOSITORY}:{held.name}", version, *more])


def build_command(environ: Mapping[str, str], held: Content, docker: str) -> list[str]:
    """``docker build`` with every argument, label and flag.

    Raises:
        ImageError: ARCH is no architecture that Lambda has.
    """
    command = [docker, "build", "--file", DOCKERFILE, "--tag", image_name(environ, held)]
    arch = environ.get("ARCH")
    if arch:
        if arch not in PLATFORMS:
            raise ImageError(f"ARCH is {arch!r}: one of {', '.join(PLATFORMS)}")
        command += ["--platform", PLATFORMS[arch]]
    for name in BUILD_ARGUMENTS:
        # An empty value is a choice too: TORCH_INDEX_URL= takes PyTorch from pip's own index.
        if name in environ and (environ[name] or name == "TORCH_INDEX_URL"):
            command += ["--build-arg", f"{name}={environ[name]}"]
    labels = {
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.base.name": environ.get("PYTHON_IMAGE") or _default_base(),
        f"{LABEL}models.version": environ.get("MODEL_VERSION") or DEFAULT_VERSION,
        f"{LABEL}extras": environ.get("EXTRAS") or "",
        **{LABEL + name: value for name, value in held.labels.items()},
    }
    revision = _git_revision()
    if revision:
        labels["org.opencontainers.image.revision"] = revision
    for name, value in labels.items():
        command += ["--label", f"{name}={value}"]
    return [*command, *shlex.split(environ.get("IMAGE_FLAGS", "")), "."]


def _default_base() -> str:
    """Returns the base image that the Dockerfile names."""
    found = re.search(
        r"^ARG PYTHON_IMAGE=(\S+)", (ROOT / DOCKERFILE).read_text(encoding="utf-8"), re.MULTILINE
    )
    if found is None:
        raise ImageError(f"{DOCKERFILE} names no PYTHON_IMAGE")
    return found[1]


def docker_program(environ: Mapping[str, str]) -> str:
    """The Docker client: DOCKER, or the one on PATH.

    Raises:
        ImageError: there is none, or no engine answers it.
    """
    docker = environ.get("DOCKER") or "docker"
    if shutil.which(docker) is None:
        raise ImageError(f"no {docker} here: install Docker, or name its client with DOCKER=")
    result = subprocess.run([docker, "version"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise ImageError(f"no Docker engine answers: {result.stderr.strip().splitlines()[-1:]}")
    return docker


def _git_revision() -> str:
    result = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    ) if shutil.which("git") else None  # fmt: skip
    return result.stdout.strip() if result is not None and result.returncode == 0 else ""


def main(environ: Mapping[str, str] = os.environ) -> int:
    """Builds the image that the environment describes, and says its name and size."""
    try:
        held = content(environ)
        docker = docker_program(environ)
        command = build_command(environ, held, docker)
    except ImageError as error:
        print(f"error[image]: {error}", file=sys.stderr)
        return 2
    name = image_name(environ, held)
    print(f"building {name}", file=sys.stderr)
    result = subprocess.run(command, cwd=ROOT, env={**environ, "DOCKER_BUILDKIT": "1"}, check=False)
    if result.returncode:
        return result.returncode
    BUILT.parent.mkdir(parents=True, exist_ok=True)
    BUILT.write_text(name + "\n", encoding="utf-8")
    size = json.loads(subprocess.check_output([docker, "image", "inspect", name]))[0]["Size"]
    print(f"{name}: {size / 1e6:.0f} MB")
    print("make image-info tells what is in it")
    return 0


if __name__ == "__main__":
    sys.exit(main())
