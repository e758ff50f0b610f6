"""The machine that figures are from."""

from __future__ import annotations

import os
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Instructions that INT8 depends on.
_INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm")


def machine_facts() -> dict[str, Any]:
    """Returns what tells one machine and day from another."""
    return {
        "began": time.time(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "load_at_begin": os.getloadavg()[0],
    }


def _processor() -> str:
    """The processor's name and its instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.machine()
    content = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(content.get("flags", content.get("Features", "")).split())
    name = content.get("model name", platform.machine())
    return f"{name} ({', '.join(flag for flag in _INSTRUCTIONS if flag in flags)})"
