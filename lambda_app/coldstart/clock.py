"""The phase clock of a cold start, and what of it is logged and shown."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


def process_started() -> float:
    """When this process started, on the clock of :func:`time.monotonic`, to the kernel's tick (10 ms).

    Falls back to now where there is no /proc.
    """
    try:
        with open("/proc/self/stat", "rb") as stream:
            # The command name may hold spaces and brackets; the fields after its closing bracket do not.
            ticks = int(stream.read().rpartition(b")")[2].split()[19])
        # starttime counts from boot, as CLOCK_BOOTTIME does (proc_pid_stat(5)).
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        age = 0.0
    return time.monotonic() - max(0.0, age)


def process_reads() -> dict[str, int]:
    """Returns what this process has read so far: bytes from storage, and the page faults that waited for it.

    Nothing where there is no /proc, or where it may not be read. What the process that reads ahead has read
    is not in it.
    """
    found = {}
    try:
        with open("/proc/self/stat", "rb") as stream:
            found["major_faults"] = int(stream.read().rpartition(b")")[2].split()[9])
        with open("/proc/self/io", "rb") as stream:
            fields = dict(line.split(b": ") for line in stream.read().splitlines())
            found["read_bytes"] = int(fields[b"read_bytes"])
    except (OSError, ValueError, IndexError, KeyError):
        pass
    return found


class PhaseClock:
    """Seconds spent in each named phase of init.

    What lies between phases belongs to none, so they add up to less than the total.
    """

    def __init__(self) -> None:
        self._started = process_started()
        self._entered = time.monotonic()
        self._lock = threading.Lock()
        self._spans: list[tuple[str, float, float]] = [("interpreter", self._started, self._entered)]
        self._total: float | None = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Times its body as one span of phase ``name``."""
        start = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._spans.append((name, start, time.monotonic()))

    def finish(self) -> None:
        """Ends the cold start: what opens later, on first use, is not part of it."""
        if self._total is None:
            self._total = time.monotonic() - self._started

    @property
    def finished(self) -> bool:
        """Returns whether init is over."""
        return self._total is not None

    def milliseconds(self) -> dict[str, float]:
        """Phase to milliseconds, summed over spans, with ``total`` from process start."""
        with self._lock:
            phases: dict[str, float] = {}
            for name, start, end in self._spans:
                phases[name] = phases.get(name, 0.0) + (end - start) * 1000
        phases["total"] = (
            self._total if self._total is not None else time.monotonic() - self._started
        ) * 1000
        return {name: round(value, 1) for name, value in phases.items()}

    def spans(self) -> list[tuple[str, float, float]]:
        """(phase, start, end) in milliseconds from process start, for waterfalls."""
        with self._lock:
            return [
                (name, round((start - self._started) * 1000, 1), round((end - self._started) * 1000, 1))
                for name, start, end in self._spans
            ]
