"""What part of a set of files is in the page cache, and how to get it out of there. Needs no privileges."""

from __future__ import annotations

import ctypes
import mmap
import os
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_ATTEMPTS = 3
_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)


def files_below(paths: Iterable[Path]) -> list[Path]:
    """Returns every regular file below paths, once; links are followed to files, not to directories."""
    found: dict[Path, None] = {}
    for path in paths:
        for file in _walk(path):
            if file.is_file():
                found[file.resolve()] = None
    return list(found)


def _walk(path: Path) -> Iterator[Path]:
    if not path.is_dir():
        yield path
        return
    for directory, _, names in os.walk(path):
        yield from (Path(directory, name) for name in names)


def standard_library() -> list[Path]:
    """Returns the files of the interpreter itself, installed packages aside."""
    root = Path(sysconfig.get_paths()["stdlib"])
    kept = [path for path in root.iterdir() if path.name not in {"site-packages", "test", "dist-packages"}]
    return files_below(kept)


def evict(files: Sequence[Path]) -> int:
    """Drops the files' pages; returns how many bytes of them stayed, which some process has mapped."""
    for attempt in range(_ATTEMPTS):
        if attempt:
            # A process that was just ended may still be letting go of its mappings.
            time.sleep(0.2)
        _advise_away(files)
        stayed = resident_bytes(files)
        if not stayed:
            break
    return stayed


def _advise_away(files: Iterable[Path]) -> None:
    for path in files:
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError:
            continue
        try:
            # Dirty pages stay too: what was just written has to reach the disk first.
            os.fdatasync(descriptor)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)


def resident_bytes(files: Iterable[Path]) -> int:
    """Returns the bytes of the files that are in the page cache, in whole pages (mincore(2))."""
    return sum(_resident(path) for path in files)


def _resident(path: Path) -> int:
    try:
        size = path.stat().st_size
        return min(size, sum(residency(path)) * mmap.PAGESIZE) if size else 0
    except OSError:
        return 0


def residency(path: Path) -> bytes:
    """Returns a byte for each page of a file that is not empty: 1 where it is in the page cache.

    Raises:
        OSError: it cannot be read or mapped.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        # Private and writable only so that ctypes may take its address; nothing is written or read.
        mapping = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
    vector = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
    window = ctypes.c_char.from_buffer(mapping)
    try:
        if _LIBC.mincore(ctypes.addressof(window), size, vector):
            raise OSError(ctypes.get_errno(), "mincore failed", str(path))
    finally:
        del window
        mapping.close()
    return bytes(flag & 1 for flag in bytes(vector))


def total_bytes(files: Iterable[Path]) -> int:
    """Returns the bytes of the files."""
    return sum(path.stat().st_size for path in files)
