"""The list of what a start reads, which the image's launcher asks for, as Python sees it.

The launcher (``scripts/image/launcher.c``) reads the list before Python starts and leaves a child process
that reads ahead. Here its process is reaped, and a list that does not belong to this bundle is found.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

SIGNATURE = "start-list-1"


def heading(fingerprints: Iterable[str]) -> str:
    """Returns the first line of a list that was recorded with models of these fingerprints."""
    return " ".join([SIGNATURE, *fingerprints])


def problem(path: str, fingerprints: Iterable[str]) -> str | None:
    """Returns what is wrong with the list at ``path`` for a bundle of these models; None where it fits."""
    try:
        with open(path, "rb") as stream:
            first = stream.readline(4096).decode("utf-8", errors="replace").rstrip("\n")
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if first.split(" ")[0] != SIGNATURE:
        return "is not a list of what a start reads"
    if first != heading(fingerprints):
        return "was recorded with other models"
    return None


def reap(reader: int) -> bool:
    """Takes note of the end of the process that reads ahead; returns False while it still runs."""
    try:
        return os.waitpid(reader, os.WNOHANG)[0] == reader
    except ChildProcessError:  # no child of ours: somebody else has reaped it
        return True
