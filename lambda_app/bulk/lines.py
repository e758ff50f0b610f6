"""Cuts bytes into lines. A range has the lines that begin in it, so that ranges which touch share none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

# A longer line is not a row: the longest text, escaped, and metadata fit several times.
MAX_LINE_BYTES = 16 * 1024 * 1024
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A line without its end; ``content`` is None where it is too long. ``offset`` and ``next`` are bytes."""

    offset: int
    content: bytes | None
    next: int


def lines(blocks: Iterable[bytes], offset: int, end: int | None = None) -> Iterator[Line]:
    """Yields the lines of bytes that begin at ``offset``; the last needs no end.

    Behind ``end`` nothing more is read of a line that is too long.
    """
    pending = bytearray()
    # What was dropped of a line that is too long.
    dropped = 0
    for block in blocks:
        if dropped and end is not None and offset + dropped + len(pending) >= end:
            break
        start = 0
        while (stop := block.find(b"\n", start)) >= 0:
            pending += block[start:stop]
            line = _line(offset, pending, dropped, end=1)
            yield line
            offset, dropped = line.next, 0
            pending.clear()
            start = stop + 1
        pending += block[start:]
        if len(pending) > MAX_LINE_BYTES:
            dropped += len(pending)
            pending.clear()
    if pending or dropped:
        yield _line(offset, pending, dropped, end=0)


def _line(offset: int, pending: bytearray, dropped: int, end: int) -> Line:
    following = offset + dropped + len(pending) + end
    if dropped or len(pending) > MAX_LINE_BYTES:
        return Line(offset, None, following)
    content = bytes(pending).removesuffix(b"\r")
    return Line(offset, content.removeprefix(BYTE_ORDER_MARK) if not offset else content, following)


def first_byte(start: int, *, aligned: bool) -> int:
    """Returns where the blocks of a range have to begin: see :func:`lines_of_range`."""
    return start if aligned or not start else start - 1


def lines_of_range(blocks: Iterable[bytes], start: int, end: int, *, aligned: bool) -> Iterator[Line]:
    """Yields the lines that begin in a range of bytes.

    ``blocks`` begin at ``start``, or one byte before it where that is not known to be the begin of a line:
    what ends there began in the range before.
    """
    first = first_byte(start, aligned=aligned)
    blocks = iter(blocks)
    if first < start:
        skipped = first
        rest = b""
        # A line that is longer than the range is not read to its end: nothing begins here then.
        for block in blocks:
            stop = block.find(b"\n")
            if stop >= 0:
                skipped += stop + 1
                rest = block[stop + 1 :]
                break
            skipped += len(block)
            if skipped >= end:
                return
        blocks = chain([rest], blocks)
        first = skipped
    for line in lines(blocks, first, end):
        if line.offset >= end:
            return
        yield line
