"""Things made once: a directory is made again only when what it was made from has changed."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

STAMP = ".made-from"


def digest(*parts: str, files: Iterable[Path] = ()) -> str:
    """Returns one hash over words and the content of files: what a directory is made from."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.encode() + b"\0")
    for path in sorted(files):
        total.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return total.hexdigest()


def is_made(directory: Path, key: str) -> bool:
    """Returns whether a directory is there, whole, and made from ``key``."""
    return _stamp(directory)[:1] == [key]


def seconds_to_make(directory: Path) -> float | None:
    """Returns the seconds that making a directory took; None where they are not known."""
    words = _stamp(directory)
    return float(words[1]) if len(words) > 1 else None


def _stamp(directory: Path) -> list[str]:
    try:
        return (directory / STAMP).read_text(encoding="ascii").split()
    except OSError:
        return []


def make_once(directory: Path, key: str, make: Callable[[Path], None]) -> bool:
    """Empties and makes a directory unless it is made from ``key``; returns whether it had to.

    The stamp comes last, so a directory that was left half-made is made again.
    """
    if is_made(directory, key):
        return False
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    began = time.monotonic()
    make(directory)
    (directory / STAMP).write_text(f"{key} {time.monotonic() - began:.1f}", encoding="ascii")
    return True
