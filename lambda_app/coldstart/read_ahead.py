"""Asks the kernel for parts of a file before they are needed, all of them at once.

Lambda hands an image over in chunks that arrive when they are first read (docs/COLD_START.md). An inference
that reads its weights page by page waits for one chunk after another; asked for beforehand, chunks arrive
side by side. The kernel reads in the background.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

# One call makes at most about 1.3 MB resident, however much it asks for: the kernel bounds each call by what
# the device takes at once (force_page_cache_ra in mm/readahead.c).
SLICE_BYTES = 1 << 20
PAGE_BYTES = 4096


class ReadAhead:
    """One file that is asked for in parts."""

    _descriptor = -1

    def __init__(self, path: Path) -> None:
        """Opens the file.

        Raises:
            OSError: it cannot be opened.
        """
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        """Closes the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def range(self, start: int, end: int) -> None:
        """Asks for the bytes from ``start`` to ``end``, in their order."""
        for offset in range(start, end, SLICE_BYTES):
            _will_need(self._descriptor, offset, min(SLICE_BYTES, end - offset))

    def pages(self, offsets: Iterable[int]) -> None:
        """Asks for the page at each offset (bytes)."""
        for offset in offsets:
            _will_need(self._descriptor, offset, PAGE_BYTES)

    def is_resident(self, start: int, end: int) -> bool:
        """Whether a few pages spread over a range are all in memory; False where that cannot be told."""
        if not hasattr(os, "RWF_NOWAIT"):
            return False
        step = max(PAGE_BYTES, (end - start) // 16)
        byte = bytearray(1)
        try:
            return all(
                os.preadv(self._descriptor, [byte], offset, os.RWF_NOWAIT) == 1
                for offset in range(start, end, step)
            )
        except OSError:  # EAGAIN: not in memory
            return False


def _will_need(descriptor: int, offset: int, count: int) -> None:
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(descriptor, offset, count, os.POSIX_FADV_WILLNEED)
