"""What the kernel knows of a running process (proc(5))."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
    """What a process holds now, and has used since it began.

    Raises:
        OSError: it is gone.
    """
    process = Path("/proc", str(pid))
    rollup = _kilobytes(process / "smaps_rollup")
    status = _kilobytes(process / "status")
    # The command name may hold spaces and brackets; the fields after its closing bracket do not.
    fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    io = _numbers(process / "io")
    return Usage(
        resident=rollup["Rss"],
        anonymous=rollup["Anonymous"],
        peak=status["VmHWM"],
        cpu_seconds=ticks / os.sysconf("SC_CLK_TCK"),
        read=io.get("read_bytes", 0),
    )


def _kilobytes(path: Path) -> dict[str, int]:
    found = {}
    for line in path.read_text(encoding="ascii", errors="replace").splitlines():
        words = line.split()
        if len(words) == 3 and words[2] == "kB":
            found[words[0].rstrip(":")] = int(words[1]) * 1024
    return found


def _numbers(path: Path) -> dict[str, int]:
    lines = (line.partition(":") for line in path.read_text(encoding="ascii").splitlines())
    return {name: int(value) for name, _, value in lines}
