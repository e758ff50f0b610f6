"""What the engine's tools need of the machine: its programs, packages and a directory for state."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from scripts.paths import ROOT

STATE = ROOT / ".cache" / "engine"


class EngineError(Exception):
    """What is missing, in a sentence."""


def require_root(task: str) -> None:
    """Raises EngineError unless this process runs as root, which ``task`` needs."""
    if os.geteuid():
        raise EngineError(f"{task} takes root")


def checked_run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a command silently.

    Raises:
        EngineError: it failed; the message ends with what it wrote.
    """
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EngineError(f"{command[0]} failed: {(result.stdout + result.stderr)[-1000:]}")


def install(programs: Mapping[str, str]) -> None:
    """Installs Debian packages for programs that are missing.

    Args:
        programs: names of programs, each with the package that holds it.

    Raises:
        EngineError: this is no Debian, or apt-get failed.
    """
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise EngineError(f"not installed: {', '.join(missing)}")
    say(f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *missing]):
        # dockerd's package would start a service of its own, where there is something that starts services.
        checked_run(["apt-get", *command], environment)


def say(text: str) -> None:
    """Writes a line to standard error."""
    print(f"engine: {text}", file=sys.stderr, flush=True)
