"""Starts of functions from images that arrive chunk by chunk: one start, and a whole run of them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.attribution import chunks_by_group
from benchmarks.harness.image_disk import ImageDisk, Start, lay_out
from benchmarks.harness.lazy_contenders import LazyContender, description, ensure
from benchmarks.harness.lazy_disk import CHUNK, READ_AHEAD, LazyDisk, LazyDiskError, mounted, run
from benchmarks.harness.paths import cache
from benchmarks.harness.progress import Progress
from benchmarks.measure import workload
from benchmarks.measure.machine import machine_facts
from benchmarks.report.lazy_results import Fetched, LazyResults, LazySample, Setting
from scripts.local.container import GID, UID
from scripts.local.rie import Emulator
from scripts.local.rie.binary import ensure_binary


@dataclass(frozen=True, slots=True)
class LazyPlan:
    """What to measure: contenders, settings, rounds, and the loop device's read-ahead in bytes."""

    contenders: Sequence[LazyContender]
    settings: Sequence[Setting]
    rounds: int
    read_ahead: int = READ_AHEAD


def settings_of(delays: Sequence[float], at_once: Sequence[int]) -> list[Setting]:
    """Returns all combinations; undelayed, the number of chunks at once makes no difference."""
    delayed = [Setting(delay, count) for delay in delays if delay > 0 for count in at_once]
    return [*([Setting(0, max(at_once))] if 0 in delays else []), *delayed]


def measure(plan: LazyPlan, docker: str) -> LazyResults:
    """Builds and lays out what is missing, then measures, rounds interleaved over contenders and settings.

    Runs inside :func:`benchmarks.harness.namespaces.run_contained`.

    Raises:
        LazyDiskError: an image could not be laid out, served or mounted.
    """
    ensure_binary()
    disks = {}
    progress = Progress(len(plan.contenders))
    for contender in plan.contenders:
        progress.begin(f"preparing {contender.tag}")
        ensure(contender)
        disks[contender.name] = lay_out(contender.tag, docker)
        progress.advance()
    progress.end()
    samples = []
    with _scratch() as scratch:
        for contender in plan.contenders:
            # Not counted: what a start reads is in this machine's page cache afterwards.
            start(contender, disks[contender.name], Setting(0, 64), scratch, plan.read_ahead)
        progress = Progress(plan.rounds * len(plan.settings) * len(plan.contenders))
        for setting, contender in _order(plan):
            progress.begin(f"{contender.name}, {setting.label}")
            samples.append(start(contender, disks[contender.name], setting, scratch, plan.read_ahead))
            progress.advance()
        progress.end()
    return LazyResults(
        facts={**machine_facts(), "rounds": plan.rounds, "read_ahead": plan.read_ahead},
        about={one.name: description(one, os.environ) for one in plan.contenders},
        image_chunks={name: _used_chunks(disk) for name, disk in disks.items()},
        samples=samples,
    )


def _order(plan: LazyPlan) -> Iterator[tuple[Setting, LazyContender]]:
    for _ in range(plan.rounds):
        for setting in plan.settings:
            for contender in plan.contenders:
                yield setting, contender


@contextmanager
def _scratch() -> Iterator[Path]:
    """Gives a directory for mount points on a file system that ends with the mount namespace."""
    place = cache() / "lazy" / "mounts"
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "tmpfs", str(place))
    try:
        yield Path(tempfile.mkdtemp(dir=place))
    finally:
        run("umount", "--lazy", str(place))


def start(
    contender: LazyContender, disk: ImageDisk, setting: Setting, scratch: Path, read_ahead: int
) -> LazySample:
    """Starts the function once, for one embedding and one ranking.

    Raises:
        LazyDiskError: the image could not be mounted.
        WrongResponseError: the function's answer is not what was asked for.
    """
    with mounted(
        disk.backing, scratch, delay=setting.delay, at_once=setting.at_once, read_ahead=read_ahead
    ) as lazy:
        environment = {**disk.start.environment, **contender.variables}
        with Emulator(environment, command=inside(lazy.root, disk.start)) as emulator:
            began = time.monotonic()
            _ask(emulator, events(contender)[0], contender)
            embed, to_embed = time.monotonic() - began, _fetched(lazy, disk)
            if not contender.reranks:
                return LazySample(contender.name, setting, embed, None, to_embed, None)
            between = time.monotonic()
            _ask(emulator, events(contender)[1], contender)
            rank = embed + time.monotonic() - between
            return LazySample(contender.name, setting, embed, rank, to_embed, _fetched(lazy, disk))


def events(contender: LazyContender) -> tuple[workload.Event, workload.Event]:
    """Returns a contender's first embedding and first ranking."""
    if contender.source == "direct":
        documents = list(workload.FIRST_DOCUMENTS)
        rank = {"action": "rerank", "query": workload.FIRST_TEXT, "documents": documents}
        return workload.direct_embed_event([workload.FIRST_TEXT]), rank
    embed = workload.embed_event([workload.FIRST_TEXT])
    return embed, workload.rerank_event(workload.FIRST_TEXT, workload.FIRST_DOCUMENTS)


def inside(root: Path, start: Start, which: Callable[[str], str | None] = shutil.which) -> list[str]:
    """Returns the command that runs an image's start in its file system, as a user like Lambda's."""
    nsenter = which("nsenter")
    if nsenter is None:
        raise LazyDiskError("no nsenter here: apt-get install util-linux")
    directory = root / start.directory.lstrip("/")
    options = [f"--root={root}", f"--wd={directory}", f"--setuid={UID}", f"--setgid={GID}"]
    return [nsenter, *options, "--", *start.command]


def _ask(emulator: Emulator, event: workload.Event, contender: LazyContender) -> None:
    response = emulator.invoke(event)
    try:
        workload.check_response(event, response, dimensions=contender.dimensions)
    except workload.WrongResponseError as error:
        errors = [record for record in emulator.log if record.get("level") == "ERROR"]
        raise workload.WrongResponseError(
            f"{contender.name}: {error}; its log: {str(errors)[-1000:]}"
        ) from None


def _fetched(lazy: LazyDisk, disk: ImageDisk) -> Fetched:
    touched = lazy.touched()
    groups = chunks_by_group(disk.extents, (one.offset for one in touched))
    return Fetched(len(touched), sum(one.bytes_read for one in touched), groups)


def _used_chunks(disk: ImageDisk) -> int:
    """Chunks that hold something of the image."""
    return len({
        chunk for one in disk.extents for chunk in range(one.start // CHUNK, (one.end - 1) // CHUNK + 1)
    })  # fmt: skip
