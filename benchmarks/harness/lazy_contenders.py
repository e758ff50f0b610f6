"""What the lazy image compares: each contender as an image of its own, on the same base."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import artefacts, environments, images
from benchmarks.harness.contender import SINGLE_FILES, TORCH_MODELS
from benchmarks.harness.paths import BENCHMARKS, cache
from benchmarks.harness.stamps import STAMP, digest
from scripts.image.build import BUILD_ARGUMENTS, ImageError, docker_program
from scripts.paths import ROOT

DOCKERFILE = BENCHMARKS / "contenders" / "Dockerfile"
REPOSITORY = "lambda-benchmark"


@dataclass(frozen=True, slots=True)
class LazyContender:
    """An image and how to use it.

    ``image`` is a name of ``benchmarks.harness.images`` for this function; for others it is None, and
    ``environment``, ``handler`` and ``artefacts`` are what the image is made from. ``named`` is an image
    that is taken as it is.
    """

    name: str
    about: str
    image: str | None = None
    named: str | None = None
    environment: str = ""
    handler: str = ""
    artefacts: tuple[str, ...] = ()
    source: str = "http"
    reranks: bool = True
    variables: Mapping[str, str] = field(default_factory=dict)
    dimensions: int | None = 768

    @property
    def tag(self) -> str:
        """Returns the name of its image."""
        if self.named is not None:
            return self.named
        return images.image_of(self.image) if self.image else f"{REPOSITORY}:{self.name}"


CONTENDERS = (
    LazyContender("ours", "this function's image, INT8, over HTTP", "int8"),
    LazyContender(
        "ours-embed", "the same with MODELS=embedding", "int8", reranks=False,
        variables={"MODELS": "embedding"},
    ),
    LazyContender(
        "ours-pipeline", "the same with PRELOAD=embedding,reranker, direct events, no web layer", "int8",
        source="direct", variables={"PRELOAD": "embedding,reranker"},
    ),
    LazyContender("ours-fp32", "this function's image with an FP32 bundle", "fp32"),
    LazyContender(
        "fastembed", "fastembed with custom models, single-file INT8", environment="fastembed",
        handler="benchmarks.contenders.fastembed_app.handler", artefacts=SINGLE_FILES,
    ),
    LazyContender(
        "optimum", "optimum's ORTModel classes, single-file INT8", environment="optimum",
        handler="benchmarks.contenders.optimum_onnx.handler", artefacts=SINGLE_FILES,
    ),
    LazyContender(
        "pytorch-int8", "sentence-transformers, quantized when it starts", environment="pytorch",
        handler="benchmarks.contenders.pytorch_int8.handler", artefacts=TORCH_MODELS,
    ),
    LazyContender(
        "pytorch-fp32", "sentence-transformers, FP32 from disk", environment="pytorch",
        handler="benchmarks.contenders.pytorch_fp32.handler", artefacts=TORCH_MODELS,
    ),
)  # fmt: skip


def ensure(contender: LazyContender) -> None:
    """Builds a contender's image and what it is made from, unless they are there.

    Raises:
        ImageError: Docker could not, or there is none.
    """
    docker = docker_program(os.environ)
    if contender.named is not None:
        return
    if contender.image is not None:
        bundle = images.BUNDLES[contender.image]
        artefacts.ensure([bundle] if bundle else [])
        images.ensure(contender.image)
        return
    artefacts.ensure(contender.artefacts)
    key = made_from(contender)
    if _made_from_label(docker, contender.tag) != key:
        _build(contender, docker, key)


def build_command(contender: LazyContender, docker: str, environ: Mapping[str, str]) -> list[str]:
    """Returns ``docker build`` for a contender, with the settings of ``make image``."""
    command = [docker, "build", "--tag", contender.tag]
    base = base_image(contender, environ)
    command += ["--build-arg", f"PYTHON_IMAGE={base}"] if base else []
    for name in BUILD_ARGUMENTS:
        if name.startswith("PIP_") and environ.get(name):
            command += ["--build-arg", f"{name}={environ[name]}"]
    if "TORCH_INDEX_URL" in environ:
        command += ["--build-arg", f"TORCH_INDEX_URL={environ['TORCH_INDEX_URL']}"]
    return [*command, *shlex.split(environ.get("IMAGE_FLAGS", ""))]


def base_image(contender: LazyContender, environ: Mapping[str, str]) -> str | None:
    """Returns the base of a contender's image; None leaves it to the Dockerfile.

    It is the base of the function's image, except where TORCH_INDEX_URL is empty: then only the base of the
    build's own stage has PyTorch for CPUs.
    """
    torch = "\ntorch==" in environments.requirements(contender.environment).read_text(encoding="utf-8")
    if torch and environ.get("TORCH_INDEX_URL") == "":
        return environ.get("BUILD_IMAGE") or default_build_image()
    return environ.get("PYTHON_IMAGE") or None


def description(contender: LazyContender, environ: Mapping[str, str]) -> str:
    """Returns what a contender is, with its base where that is not the one of the function's image."""
    base = base_image(contender, environ) if contender.environment else None
    return (
        f"{contender.about}, on {base}" if base and base != environ.get("PYTHON_IMAGE") else contender.about
    )


def default_build_image() -> str:
    """Returns the base of the stage that exports models."""
    lines = (ROOT / "Dockerfile.lambda").read_text(encoding="utf-8").splitlines()
    return next(line for line in lines if line.startswith("ARG BUILD_IMAGE=")).partition("=")[2]


def dockerfile(contender: LazyContender) -> str:
    """Returns the contender's Dockerfile: the common one, with its handler as CMD."""
    return DOCKERFILE.read_text(encoding="utf-8") + f"CMD {json.dumps([contender.handler])}\n"


def made_from(contender: LazyContender) -> str:
    """Returns one hash of what a contender's image is made from."""
    files = [*(BENCHMARKS / "contenders").glob("*.py"), environments.requirements(contender.environment)]
    base = base_image(contender, os.environ) or ""
    return digest(dockerfile(contender), base, *map(artefacts.key, contender.artefacts), files=files)


def _build(contender: LazyContender, docker: str, key: str) -> None:
    # Beside the models, of which the context has hard links.
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        context = Path(scratch)
        (context / "Dockerfile").write_text(dockerfile(contender), encoding="utf-8")
        shutil.copyfile(environments.requirements(contender.environment), context / "requirements.txt")
        code = context / "code" / "benchmarks"
        shutil.copytree(
            BENCHMARKS / "contenders", code / "contenders", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copyfile(BENCHMARKS / "__init__.py", code / "__init__.py")
        for name in contender.artefacts:
            target = context / "models" / Path(name).name
            shutil.copytree(
                cache() / name, target, copy_function=os.link, ignore=shutil.ignore_patterns(STAMP)
            )
        command = [*build_command(contender, docker, os.environ), "--label", f"{images.MADE_FROM}={key}", "."]
        result = subprocess.run(command, cwd=context, env={**os.environ, "DOCKER_BUILDKIT": "1"}, check=False)
    if result.returncode:
        raise ImageError(f"the image {contender.tag} could not be built")


def _made_from_label(docker: str, image: str) -> str | None:
    result = subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False)
    labels = (json.loads(result.stdout)[0]["Config"]["Labels"] or {}) if not result.returncode else {}
    made: str | None = labels.get(images.MADE_FROM)
    return made
