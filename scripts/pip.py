"""Runs pip, and repeats of its output only what is safe to show."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence


class PipError(RuntimeError):
    """pip failed; the message holds its errors."""


def run_pip(arguments: Sequence[str], *, python: str = sys.executable) -> None:
    """Runs ``python -m pip`` quietly.

    Raises:
        PipError: it failed. Only pip's lines that begin with ERROR are repeated, because the others may hold
            the address of the user's package index.
    """
    command = [python, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        errors = "; ".join(line for line in result.stderr.splitlines() if line.startswith("ERROR"))
        raise PipError(errors[:500] or "no network?")
