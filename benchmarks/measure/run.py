"""One cold start of one contender, and what it took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import environments, pagecache
from benchmarks.harness.contender import Contender, floor_plan
from benchmarks.harness.paths import BENCHMARKS
from benchmarks.harness.process_usage import Usage, usage
from benchmarks.measure import workload
from benchmarks.measure.contained import ContainedFunction
from benchmarks.measure.workload import Event, check_response
from benchmarks.report.results import Cache, Sample
from scripts.local.container import ContainerError
from scripts.local.rie import Emulator

LAUNCH = BENCHMARKS / "contenders" / "launch.sh"
ENTRY = "benchmarks.contenders.entry.handler"
TIMEOUT_SECONDS = 300


class RunError(RuntimeError):
    """A contender did not start or did not respond; the message has the end of its log."""


class Function:
    """A contender under the emulator, started by its first request."""

    def __init__(self, contender: Contender, cpus: int) -> None:
        self._contender = contender
        self._scratch = tempfile.TemporaryDirectory(prefix="bench-")
        directory = Path(self._scratch.name)
        self._started, self._ready = directory / "started", directory / "ready"
        python = environments.python(contender.environment)
        marks = {"BENCH_STARTED": str(self._started), "BENCH_READY": str(self._ready)}
        self._emulator = Emulator(
            {**contender.environ(), **marks},
            command=["/bin/sh", str(LAUNCH), str(python), "-m", "awslambdaric", ENTRY],
            directory=contender.task,
        )
        with restricted_to(cpus):
            self._emulator.start()

    def __enter__(self) -> Function:
        return self

    def __exit__(self, *_: object) -> None:
        self._emulator.stop()
        self._scratch.cleanup()

    def invoke(self, event: Event) -> float:
        """Sends an event and returns when its response came, on :func:`time.time`'s clock.

        Raises:
            RunError: there was no response, or not what the event asks for.
        """
        try:
            response = self._emulator.invoke(event, timeout=TIMEOUT_SECONDS)
            received = time.time()
            check_response(event, response)
        except Exception as error:
            log = f"{self._emulator.errors[-1500:]}\n{''.join(self._emulator.stdout[-5:])[-1500:]}"
            raise RunError(f"{self._contender.name}: {error}\n{log}") from error
        return received

    def timed(self, event: Event) -> float:
        """Returns the seconds that one request takes."""
        started = time.time()
        return self.invoke(event) - started

    @property
    def started(self) -> float:
        """When its process began."""
        return float(self._started.read_text(encoding="ascii"))

    @property
    def ready(self) -> float:
        """When its init was done."""
        return float(self._ready.read_text(encoding="ascii"))

    def usage(self) -> Usage:
        """Returns what its process holds and has used."""
        pid = self._emulator.runtime_pid
        if pid is None:
            raise RunError(f"{self._contender.name}: its process is gone")
        return usage(pid)

    def spans(self) -> list[tuple[str, float, float]]:
        """Returns the phases of its init, as the ``info`` action of this function reports them."""
        if not self._contender.ours:
            return []
        info: dict[str, Any] = self._emulator.invoke({"action": "info"})
        return [(name, start, end) for name, start, end in info["cold_start"].get("spans_ms", [])]


def cold_start(contender: Contender, cpus: int, cache: Cache) -> Sample:
    """Starts a contender, sends one embedding and one rerank event, and ends it.

    Raises:
        RunError: it did not respond.
    """
    models, code = files_of(contender)
    before = (0, 0)
    if cache == "cold":
        # The interpreter's own modules go as well; this process has some of its libraries mapped, so it stays
        # out of the count of what did not go.
        pagecache.evict(contender.interpreter_files())
        before = (pagecache.evict(models), pagecache.evict(code))
    try:
        run = _run_floor if contender.source == "none" else _run
        sample = run(contender, cpus, cache)
    except (ContainerError, workload.WrongResponseError, OSError) as error:
        raise RunError(f"{contender.name}: {error}") from error
    if cache == "warm":
        return sample
    return Sample(
        **{name: getattr(sample, name) for name in Sample.__slots__ if name not in _COLD_ONLY},
        models_read=pagecache.resident_bytes(models) - before[0],
        code_read=pagecache.resident_bytes(code) - before[1],
        residue=sum(before),
    )


def files_of(contender: Contender) -> tuple[list[Path], list[Path]]:
    """Returns its models' files, and all others that its image adds to its base."""
    models = pagecache.files_below(contender.model_paths)
    # The layers of an image hold its models too.
    known = set(models)
    return models, [file for file in pagecache.files_below(contender.image_paths()) if file not in known]


_COLD_ONLY = {"models_read", "code_read", "residue"}


def _run(contender: Contender, cpus: int, cache: Cache) -> Sample:
    text = workload.FIRST_TEXT
    direct = contender.source == "direct"
    with _function(contender, cpus) as function:
        embedded = function.invoke(
            workload.direct_embed_event([text]) if direct else workload.embed_event([text])
        )
        ranked = None
        if contender.reranks:
            ranked = function.invoke(workload.rerank_event(text, workload.FIRST_DOCUMENTS))
        used, started = function.usage(), function.started
        return _sample(
            contender, cpus, cache, used,
            ready=function.ready - started, embed=embedded - started,
            rerank=None if ranked is None else ranked - started, spans=function.spans(),
        )  # fmt: skip


def _function(contender: Contender, cpus: int) -> Function | ContainedFunction:
    return ContainedFunction(contender.environ(), cpus) if contender.contained else Function(contender, cpus)


def _run_floor(contender: Contender, cpus: int, cache: Cache) -> Sample:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        mark = Path(scratch) / "started"
        python = environments.python(contender.environment)
        script = BENCHMARKS / "contenders" / "floor.py"
        path = os.environ.get("PATH", os.defpath)
        with restricted_to(cpus):
            process = subprocess.Popen(
                ["/bin/sh", str(LAUNCH), str(python), str(script), str(floor_plan(contender))],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=scratch,
                env={"PATH": path, **contender.environ(), "BENCH_STARTED": str(mark)},
            )  # fmt: skip
        with process:
            line = process.stdout.readline() if process.stdout else ""
            try:
                embedded = float(line) - float(mark.read_text(encoding="ascii"))
                used = usage(process.pid)
            except (OSError, ValueError) as error:
                raise RunError(f"{contender.name}: it did not finish ({error})") from error
            finally:
                process.kill()
    return _sample(contender, cpus, cache, used, ready=None, embed=embedded, rerank=None, spans=[])


def _sample(
    contender: Contender, cpus: int, cache: Cache, used: Usage, *,
    ready: float | None, embed: float, rerank: float | None, spans: list[tuple[str, float, float]],
) -> Sample:  # fmt: skip
    return Sample(
        contender.name, cpus, cache, ready, embed, rerank, used.cpu_seconds, used.resident, used.anonymous,
        used.peak, used.read, spans=spans,
    )  # fmt: skip


@contextmanager
def restricted_to(cpus: int) -> Iterator[None]:
    """Gives what is started inside that many CPUs, as long as it lives."""
    present = os.sched_getaffinity(0)
    if cpus > len(present):
        raise RunError(f"{cpus} CPUs were asked for, this process has {len(present)}")
    os.sched_setaffinity(0, sorted(present)[:cpus])
    try:
        yield
    finally:
        os.sched_setaffinity(0, present)
