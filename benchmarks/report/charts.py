"""Horizontal bar charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from builder.svg import Axis, element, figure, text, tick_step, vertical_grid

_LABEL, _PLOT, _NOTE = 190, 660, 190
_ROW, _BAR, _TOP, _AXIS = 28, 18, 8, 26
# Bars shorter than a pixel stay visible.
_MIN_BAR = 1.0


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar, from ``start`` to ``end``; ``kind`` is its CSS class, ``title`` its tooltip."""

    start: float
    end: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One bar.

    ``note`` is written behind it; ``strong`` rows stand out. ``whisker`` has the extremes of the rounds.
    """

    label: str
    segments: Sequence[Segment]
    note: str = ""
    strong: bool = False
    whisker: tuple[float, float] | None = None


def stacked(label: str, parts: Sequence[tuple[str, str, float]], note: str, *, strong: bool) -> Row:
    """Returns a bar of (kind, name, length) parts one behind the other."""
    segments, position = [], 0.0
    for kind, name, length in parts:
        segments.append(Segment(position, position + length, kind, f"{label}: {name} {length:.3g}"))
        position += length
    return Row(label, segments, note, strong)


def chart(title: str, rows: Sequence[Row], unit: str) -> str:
    """Returns the figure. ``title`` describes it to those who do not see it."""
    longest = max((segment.end for row in rows for segment in row.segments), default=1.0)
    longest = max([longest, *(row.whisker[1] for row in rows if row.whisker)])
    axis = Axis(0, max(longest, tick_step(longest)), _LABEL, _LABEL + _PLOT)
    bottom = _TOP + _ROW * len(rows)
    parts = vertical_grid(axis, _TOP, bottom, unit)
    for index, row in enumerate(rows):
        parts += _bar(row, _TOP + _ROW * index + _ROW / 2, axis)
    return figure(_LABEL + _PLOT + _NOTE, bottom + _AXIS, title, parts)


def _bar(row: Row, middle: float, axis: Axis) -> list[str]:
    class_ = "strong" if row.strong else ""
    base_line = middle + 4.5
    parts = [text(_LABEL - 10, base_line, row.label, anchor="end", class_=class_)]
    reach = axis.start
    for segment in row.segments:
        x = axis.place(segment.start)
        width = max(_MIN_BAR, axis.place(segment.end) - x)
        reach = max(reach, x + width)
        tooltip = element("title", escape(segment.title))
        top = middle - _BAR / 2
        parts.append(element("rect", tooltip, class_=segment.kind, x=x, y=top, width=width, height=_BAR))
    if row.whisker:
        low, high = (axis.place(value) for value in row.whisker)
        reach = max(reach, high)
        line = f"M{low:.1f} {middle}H{high:.1f}m0 -4v8M{low:.1f} {middle - 4}v8"
        parts.append(element("path", class_="whisker", d=line))
    if row.note:
        parts.append(text(reach + 8, base_line, row.note, class_=class_))
    return parts
