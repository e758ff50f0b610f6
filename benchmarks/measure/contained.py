"""The function's image as a contender: in a container, with the CPU share of its memory size."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.harness import images
from benchmarks.harness.contender import IMAGE_NAME, OUR_HANDLER
from benchmarks.harness.paths import BENCHMARKS
from benchmarks.harness.process_usage import Usage, usage
from benchmarks.measure.workload import Event, check_response
from scripts.image.build import docker_program
from scripts.local.container import MEGABYTES_PER_CPU, TMP, Container

# Where the container sees this directory, for its launcher and its entry module.
MOUNT = "/mnt/benchmark"
ENTRY = "benchmarks.contenders.entry.handler"
STARTED, READY = f"{TMP}/started", f"{TMP}/ready"


class ContainedFunction:
    """The image, with ``cpus`` times the memory that buys one CPU; its process starts with the first request.

    Its clock is the host's, and begins where that of the others does: when its process does, in a container
    that is there.
    """

    def __init__(self, environ: dict[str, str], cpus: int) -> None:
        package = f"{MOUNT}/benchmarks"
        marks = {"BENCH_STARTED": STARTED, "BENCH_READY": READY, "BENCH_HANDLER": OUR_HANDLER}
        self._container = Container(
            images.image_of(IMAGE_NAME),
            memory_mb=MEGABYTES_PER_CPU * cpus,
            environment={**environ, **marks, "PYTHONPATH": MOUNT},
            volumes={
                BENCHMARKS / "__init__.py": f"{package}/__init__.py",
                BENCHMARKS / "contenders": f"{package}/contenders",
            },
            command=[
                *("/bin/sh", f"{package}/contenders/launch.sh"),
                *("/opt/venv/bin/python", "-m", "awslambdaric", ENTRY),
            ],
            docker=docker_program(os.environ),
        )
        self._container.start()
        try:
            self._container.connect()
        except BaseException:
            self._container.stop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._container.stop()

    def invoke(self, event: Event) -> float:
        """Sends an event and returns when its response came, on :func:`time.time`'s clock.

        Raises:
            ContainerError: there was no response.
            WrongResponseError: the response is not what the event asks for.
        """
        response = self._container.invoke(event)
        received = time.time()
        check_response(event, response)
        return received

    @property
    def started(self) -> float:
        """When its process began."""
        return self._mark(STARTED)

    @property
    def ready(self) -> float:
        """When its init was done."""
        return self._mark(READY)

    def _mark(self, path: str) -> float:
        return float(Path(f"/proc/{self._pid}/root{path}").read_text(encoding="ascii"))

    def usage(self) -> Usage:
        """Returns what its process holds and has used."""
        return usage(self._pid)

    @property
    def _pid(self) -> int:
        pid = self._container.runtime_pid
        if pid is None:
            raise ProcessLookupError("the function's process is gone")
        return pid

    def spans(self) -> list[tuple[str, float, float]]:
        """Returns the phases of its init, as its own ``info`` action reports them."""
        info = self._container.invoke({"action": "info"})
        return [(name, start, end) for name, start, end in info["cold_start"].get("spans_ms", [])]
