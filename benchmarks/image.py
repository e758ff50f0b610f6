"""The image itself measured: ``python -m benchmarks.image`` (``make bench-image``).

Images with both full-size models (random weights), INT8 and FP32, and one with no models and the INT8 bundle
mounted beside it, each in a container with the CPU share that Lambda gives to 1,769 MB: how long the build
took, what the image weighs, when the first answers came, what memory it holds. Then the INT8 image as one
file system on a loop device, read from nothing, to see which of its 512 KiB chunks a cold start touches: the
unit in which Lambda fetches images. Linux, Docker, and root for the loop device.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import prepare, terminal, workload
from benchmarks.image_chunks import ChunkError, Touched, touched_at_cold_start
from benchmarks.paths import RESULTS, cache
from benchmarks.procfs import usage
from benchmarks.stamps import STAMP
from scripts.container import MEGABYTES_PER_CPU, Container, ContainerError
from scripts.image import REPOSITORY, ImageError, build_command, content, docker_program
from scripts.image_info import layers
from scripts.rie import ROOT

ROUNDS = 5
# Name of the variant to the bundle in its image; None has it mounted.
VARIANTS: dict[str, str | None] = {"int8": "bundles/int8", "fp32": "bundles/none", "none": None}
# What the Dockerfile copies; the context is made of it and of a bundle from elsewhere.
CONTEXT = (
    *("Dockerfile.lambda", ".dockerignore", "lambda_app", "model_build", "build_models.py", "models.toml"),
    *("requirements", "scripts", "LICENSE", "NOTICE"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One variant. Seconds are medians, bytes are of the last round; ``added`` is what the image adds to its
    base."""

    variant: str
    build_seconds: float
    added: int
    first_embed: float
    first_rerank: float
    idle: int
    loaded: int
    batch_seconds: float


def image_of(variant: str) -> str:
    """The image's name."""
    return f"{REPOSITORY}:full-size-{variant}"


def build(variant: str, docker: str, environ: Mapping[str, str] = os.environ) -> float:
    """Builds a variant's image; returns the seconds that it took, dependencies cached.

    Raises:
        ImageError: Docker could not.
    """
    bundle = VARIANTS[variant]
    settings = {**environ, "BUNDLE_FROM": "prebuilt" if bundle else "none", "IMAGE": image_of(variant)}
    directory = cache() / bundle if bundle else None
    held = content(settings, directory) if directory else content(settings)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=cache()) as scratch:
        context = Path(scratch)
        for name in CONTEXT:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile
            copy(ROOT / name, context / name)
        if directory is not None:
            shutil.copytree(directory, context / "models", copy_function=os.link)
            (context / "models" / STAMP).unlink()
        command = build_command(settings, held, docker)
        result = subprocess.run(command, cwd=context, env={**environ, "DOCKER_BUILDKIT": "1"}, check=False)
    if result.returncode:
        raise ImageError(f"the image {image_of(variant)} could not be built")
    return time.monotonic() - began


def measure(variant: str, docker: str, build_seconds: float, rounds: int = ROUNDS) -> Row:
    """Starts a variant's image ``rounds`` times.

    Raises:
        ContainerError: it did not start or answer.
    """
    first_embed, first_rerank, batch = [], [], []
    idle = loaded = 0
    mounted = VARIANTS[variant] is None
    embed = workload.embed_event([workload.FIRST_TEXT])
    rerank = workload.rerank_event(workload.FIRST_TEXT, workload.FIRST_DOCUMENTS)
    texts = workload.embed_event([workload.of_tokens(128, seed) for seed in range(16)])
    for _ in range(rounds):
        with Container(
            image_of(variant),
            environment={"MODEL_DIR": "/mnt/models"} if mounted else {},
            volumes={cache() / "bundles/int8": "/mnt/models"} if mounted else {},
            docker=docker,
        ) as container:
            container.connect()
            first_embed.append(_timed(container, embed))
            first_rerank.append(first_embed[-1] + _timed(container, rerank))
            idle = usage(container.runtime_pid or 0).resident
            # The first ones make a session repack its weights.
            batch.append([_timed(container, texts) for _ in range(4)][-1])
            loaded = usage(container.runtime_pid or 0).peak
    sizes = layers(docker, image_of(variant))
    return Row(
        variant, build_seconds, sum(sizes.values()) - sizes["base"], statistics.median(first_embed),
        statistics.median(first_rerank), idle, loaded, statistics.median(batch),
    )  # fmt: skip


def _timed(container: Container, event: workload.Event) -> float:
    began = time.monotonic()
    answer = container.invoke(event)
    seconds = time.monotonic() - began
    workload.check_answer(event, answer)
    return seconds


def tell(rows: list[Row], chunks: Touched | None) -> str:
    """The tables as text."""
    about = {"int8": "INT8, in the image", "fp32": "FP32, in the image", "none": "INT8, mounted"}
    table = [
        [
            "models",
            "build s",
            "image adds",
            "first embed s",
            "+ rerank s",
            "memory",
            "peak",
            "16 x 128 tokens s",
        ]
    ]
    for row in rows:
        seconds = [f"{value:.2f}" for value in (row.first_embed, row.first_rerank)]
        memory = [f"{value / 1e6:.0f} MB" for value in (row.idle, row.loaded)]
        added = f"{row.added / 1e6:.0f} MB"
        left = [about[row.variant], f"{row.build_seconds:.0f}", added]
        table.append([*left, *seconds, *memory, f"{row.batch_seconds:.2f}"])
    return terminal.table(table) + (f"\n\n{chunks.told()}" if chunks else "")


def main(arguments: list[str]) -> int:
    """Builds and measures; ``build`` builds the INT8 image alone, for the long tests."""
    try:
        docker = docker_program(os.environ)
        prepare.ensure([bundle for bundle in VARIANTS.values() if bundle])
        if arguments == ["build"]:
            build("int8", docker)
            return 0
        rows = [measure(variant, docker, build(variant, docker)) for variant in VARIANTS]
        chunks = touched_at_cold_start(image_of("int8"), docker) if os.geteuid() == 0 else None
    except (ImageError, ContainerError, ChunkError, workload.WrongAnswerError) as error:
        print(f"benchmark failed: {error}", file=sys.stderr)
        return 1
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"memory_mb": MEGABYTES_PER_CPU, "rounds": ROUNDS, "rows": [asdict(row) for row in rows]}
    found["chunks"] = asdict(chunks) if chunks else None
    (RESULTS / "image.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(tell(rows, chunks))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
