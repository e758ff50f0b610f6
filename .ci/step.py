"""Runs a command; fails if that fails or leaves a process behind: ``python3 .ci/step.py make test``."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def children() -> dict[int, str]:
    """Live child processes: what a finished command left behind is handed to its subreaper, which is us."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            state, parent = (entry / "stat").read_bytes().rpartition(b")")[2].split()[:2]
            if int(parent) == os.getpid() and state != b"Z":
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(entry.name)] = command.decode(errors="replace")
        except (OSError, ValueError):
            continue
    return found


def main(command: list[str]) -> int:
    """Runs the command; returns its exit status, or 1 where it left processes behind."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError("prctl")
    began = time.monotonic()
    status = subprocess.run(command, check=False).returncode
    print(f"== {' '.join(command)}: {time.monotonic() - began:.0f} s, exit {status}", file=sys.stderr)
    # What is on its way out gets a moment.
    until = time.monotonic() + 2
    while children() and time.monotonic() < until:
        time.sleep(0.05)
    while left := children():
        status = status or 1
        for pid, name in left.items():
            print(f"== left behind: {name}", file=sys.stderr)
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.2)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
