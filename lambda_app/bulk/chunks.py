"""Cuts long texts into pieces of so many tokens, as the model's own tokenizer counts them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lambda_app.bulk.job_fields import Chunk
from lambda_app.bulk.rows import Row

Count = Callable[[Sequence[str]], list[int]]
WORD = re.compile(r"\S+")
# A longer run without a space, as in Chinese, is cut into slices of so many characters.
SLICE = 16
MAX_WORD = 48


class Item(NamedTuple):
    """A text to embed: a row, or a piece of its ``document`` from character ``start`` up to ``end``.

    ``row`` is the row's place in its group.
    """

    row: int
    id: str
    text: str
    metadata: Mapping[str, Any]
    document: str | None = None
    start: int = 0
    end: int = 0


class Piece(NamedTuple):
    """A piece of a text, from character ``start`` up to ``end``."""

    start: int
    end: int


def cut(text: str, chunk: Chunk, count: Count) -> list[Piece]:
    """Returns the pieces of a text: each of at most ``chunk.tokens``, all but its spaces in one at least.

    Pieces begin and end at words. Each begins with up to ``chunk.overlap`` tokens of the one before it.
    """
    units = [part for match in WORD.finditer(text) for part in _slices(text, *match.span(), chunk, count)]
    if not units:
        return [Piece(0, len(text))]
    sizes = count([text[start:end] for start, end in units])
    pieces = []
    first = 0
    while True:
        stop, tokens = first, 0
        while stop < len(units) and (stop == first or tokens + sizes[stop] <= chunk.tokens):
            tokens += sizes[stop]
            stop += 1
        pieces.append(Piece(units[first][0], units[stop - 1][1]))
        if stop == len(units):
            return pieces
        begin, shared = stop, 0
        while begin - 1 > first and shared + sizes[begin - 1] <= chunk.overlap:
            begin -= 1
            shared += sizes[begin]
        # What overlaps has to leave space for the next word.
        while begin < stop and shared + sizes[stop] > chunk.tokens:
            shared -= sizes[begin]
            begin += 1
        first = begin


def items_of(row: Row, place: int, chunk: Chunk | None, count: Count) -> list[Item]:
    """Returns what is embedded of a row, which is at ``place`` in its group: its text, or pieces of it."""
    if chunk is None:
        return [Item(place, row.id, row.text, row.metadata)]
    return [
        Item(place, f"{row.id}#{number}", row.text[start:end], row.metadata, row.id, start, end)
        for number, (start, end) in enumerate(cut(row.text, chunk, count))
    ]


def _slices(text: str, start: int, end: int, chunk: Chunk, count: Count) -> list[Piece]:
    if end - start <= MAX_WORD and count([text[start:end]])[0] <= chunk.tokens:
        return [Piece(start, end)]
    slices = []
    for begin in range(start, end, SLICE):
        slices += _halves(text, begin, min(begin + SLICE, end), chunk, count)
    return slices


def _halves(text: str, start: int, end: int, chunk: Chunk, count: Count) -> list[Piece]:
    if end - start == 1 or count([text[start:end]])[0] <= chunk.tokens:
        return [Piece(start, end)]
    middle = (start + end) // 2
    return [*_halves(text, start, middle, chunk, count), *_halves(text, middle, end, chunk, count)]
