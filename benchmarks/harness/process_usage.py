"""What a process holds and has used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and seconds of a process.

    ``resident`` counts file pages in use too, ``anonymous`` only what is the process's own, ``read`` what
    storage delivered for it.
    """

    resident: int
    anonymous: int
    peak: int
    cpu_seconds: float
    read: int


def usage(pid: int) -> Usage:
    """Returns what a process holds now, and has used since it began.

    Raises:
        OSError: it has ended.
    """
    try:
        process = psutil.Process(pid)
        times, read = process.cpu_times(), process.io_counters().read_bytes
    except psutil.NoSuchProcess as error:
        raise ProcessLookupError(f"process {pid} has ended") from error
    # Exact sums and the peak, which psutil does not give (proc(5)).
    rollup, status = _sizes(pid, "smaps_rollup"), _sizes(pid, "status")
    return Usage(
        resident=rollup["Rss"],
        anonymous=rollup["Anonymous"],
        peak=status["VmHWM"],
        cpu_seconds=times.user + times.system,
        read=read,
    )


def _sizes(pid: int, name: str) -> dict[str, int]:
    """Returns the bytes that a file of ``/proc/PID`` states in kilobytes, by name."""
    lines = Path("/proc", str(pid), name).read_text(encoding="ascii", errors="replace").splitlines()
    words = [line.split() for line in lines]
    return {each[0].rstrip(":"): int(each[1]) * 1024 for each in words if each[2:] == ["kB"]}
