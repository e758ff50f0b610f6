"""The image itself measured: ``python -m benchmarks.image`` (``make bench-image``).

Four ways to bring both full-size models (random weights) to the function, side by side: INT8 and FP32 in the
image, INT8 mounted beside an image without models (as EFS would), and INT8 fetched in init, from an S3 server
on this machine. Each in a container with the CPU share that Lambda gives to 1,769 MB: how long models and
image took to build, what the image adds to its base, when the first responses came, what memory the process
holds. Then the INT8 image as one file system on a loop device, read from nothing, to see which of its 512 KiB
chunks a cold start touches: the unit in which Lambda fetches images. Linux, Docker, and root.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

from benchmarks.harness import artefacts, images
from benchmarks.harness.exit_status import exit_status
from benchmarks.harness.paths import RESULTS, cache
from benchmarks.harness.process_usage import usage
from benchmarks.harness.stamps import seconds_to_make
from benchmarks.measure import workload
from benchmarks.measure.image_chunks import ChunkError, Touched, touched_at_cold_start
from builder.progress import table
from scripts.image.build import ImageError, docker_program
from scripts.image.info import layers, output
from scripts.local.container import MEGABYTES_PER_CPU, Container, ContainerError

ROUNDS = 5
MOUNT = "/mnt/models"
PREFIX = "bundle"


@dataclass(frozen=True, slots=True)
class Way:
    """How the models of ``bundle`` come to the function: in its ``image``, or to it from outside."""

    name: str
    image: str
    bundle: str
    environment: Mapping[str, str] = field(default_factory=dict)
    fetched: bool = False

    @property
    def mounted(self) -> bool:
        """Returns whether the models are on a mounted file system."""
        return "MODEL_DIR" in self.environment


WAYS = (
    Way("INT8, in the image", "int8", "bundles/int8"),
    Way("FP32, in the image", "fp32", "bundles/none"),
    Way("INT8, none in the image, mounted", "unbundled", "bundles/int8", {"MODEL_DIR": MOUNT}),
    Way("INT8, none in the image, fetched", "unbundled", "bundles/int8", fetched=True),
)


@dataclass(frozen=True, slots=True)
class Row:
    """One way.

    Seconds are medians over rounds, except for the builds; bytes are of the last round. ``added`` is what the
    image adds to its base; ``models_seconds`` is None where it is not known.
    """

    way: str
    models_seconds: float | None
    image_seconds: float
    added: int
    first_embed: float
    first_rerank: float
    idle: int
    loaded: int
    batch_seconds: float


def measure(way: Way, docker: str, image_seconds: float, rounds: int = ROUNDS) -> Row:
    """Starts an image ``rounds`` times.

    Raises:
        ContainerError: it did not start or respond.
    """
    first_embed, first_rerank, batch = [], [], []
    idle = loaded = 0
    embed = workload.embed_event([workload.FIRST_TEXT])
    rerank = workload.rerank_event(workload.FIRST_TEXT, workload.FIRST_DOCUMENTS)
    texts = workload.embed_event([workload.of_tokens(128, seed) for seed in range(16)])
    image = images.image_of(way.image)
    with _outside(way, docker) as (network, environment):
        for _ in range(rounds):
            with Container(
                image,
                environment=environment,
                volumes={cache() / way.bundle: MOUNT} if way.mounted else {},
                # What is fetched has to fit; on Lambda, /tmp does not count as the function's memory.
                tmp_bytes=1 << 30 if way.fetched else 512 << 20,
                memory_mb=MEGABYTES_PER_CPU + (1024 if way.fetched else 0),
                cpus=1,
                network=network,
                docker=docker,
            ) as container:
                container.connect()
                first_embed.append(_timed(container, embed))
                first_rerank.append(first_embed[-1] + _timed(container, rerank))
                idle = usage(container.runtime_pid or 0).resident
                # The first ones make a session repack its weights.
                batch.append([_timed(container, texts) for _ in range(4)][-1])
                loaded = usage(container.runtime_pid or 0).peak
    sizes = layers(docker, image)
    return Row(
        way.name, seconds_to_make(cache() / way.bundle), image_seconds, sum(sizes.values()) - sizes["base"],
        statistics.median(first_embed), statistics.median(first_rerank), idle, loaded,
        statistics.median(batch),
    )  # fmt: skip


@contextmanager
def _outside(way: Way, docker: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The network and the environment of a way's containers; for one that fetches, with an S3 on it."""
    if not way.fetched:
        yield "none", dict(way.environment)
        return
    from scripts.dev import local_s3  # moto is slow to import

    with internal_network(docker) as (network, address), local_s3.s3_server(address) as server:
        local_s3.upload(server, cache() / way.bundle, PREFIX)
        bundle = {"MODEL_BUNDLE_URL": f"s3://{local_s3.BUCKET}/{PREFIX}", "AWS_ENDPOINT_URL_S3": server}
        yield network, {**local_s3.ENVIRONMENT, **bundle}


@contextmanager
def internal_network(docker: str) -> Iterator[tuple[str, str]]:
    """Name of a network that leads to this machine and no further, and this machine's address on it."""
    name = f"lambda-{uuid.uuid4().hex[:12]}"
    output(docker, "network", "create", "--internal", name)
    try:
        details = output(docker, "network", "inspect", name)
        yield name, json.loads(details)[0]["IPAM"]["Config"][0]["Gateway"]
    finally:
        output(docker, "network", "rm", name)


def _timed(container: Container, event: workload.Event) -> float:
    began = time.monotonic()
    response = container.invoke(event)
    seconds = time.monotonic() - began
    workload.check_response(event, response)
    return seconds


def summary(rows: list[Row], chunks: Touched | None) -> str:
    """Returns the tables as text."""
    heads = ("models", "models s", "image s", "image adds", "first embed s", "+ rerank s", "idle", "peak")
    lines = [[*heads, "16 x 128 tokens s"]]
    for row in rows:
        built = "-" if row.models_seconds is None else f"{row.models_seconds:.0f}"
        seconds = [f"{value:.2f}" for value in (row.first_embed, row.first_rerank)]
        memory = [f"{value / 1e6:.0f} MB" for value in (row.idle, row.loaded)]
        left = [row.way, built, f"{row.image_seconds:.0f}", f"{row.added / 1e6:.0f} MB"]
        lines.append([*left, *seconds, *memory, f"{row.batch_seconds:.2f}"])
    return table(lines) + (f"\n\n{chunks.summary()}" if chunks else "")


def main(arguments: list[str]) -> int:
    """Builds and measures; ``build`` builds the INT8 image alone, for the long tests."""
    failures = (ImageError, ContainerError, ChunkError, workload.WrongResponseError, OSError)
    return exit_status(lambda: _run(arguments), *failures)


def _run(arguments: list[str]) -> int:
    docker = docker_program(os.environ)
    if os.geteuid() and arguments != ["build"]:
        raise ImageError("only root sees what a container's process holds, and mounts an image")
    artefacts.ensure(list(dict.fromkeys(way.bundle for way in WAYS)))
    if arguments == ["build"]:
        images.ensure("int8")
        return 0
    # From nothing, or the second image would seem to take no time.
    built = {name: images.build(name, docker, "--no-cache") for name in images.BUNDLES}
    rows = [measure(way, docker, built[way.image]) for way in WAYS]
    chunks = touched_at_cold_start(images.image_of("int8"), docker)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = {"memory_mb": MEGABYTES_PER_CPU, "rounds": ROUNDS, "rows": [asdict(row) for row in rows]}
    found["chunks"] = asdict(chunks)
    (RESULTS / "image.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(summary(rows, chunks))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
