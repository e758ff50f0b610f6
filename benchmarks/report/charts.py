"""Horizontal bar charts as inline SVG. Colours come from the page's CSS, so that both colour schemes work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

_LABEL, _PLOT, _NOTE = 190, 660, 190
_ROW, _BAR, _TOP, _AXIS = 28, 18, 8, 26


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a bar, from ``start`` to ``end``; ``kind`` is its CSS class, ``title`` its tooltip."""

    start: float
    end: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Row:
    """One bar. ``note`` is written behind it; ``strong`` rows stand out."""

    label: str
    segments: Sequence[Segment]
    note: str = ""
    strong: bool = False
    mark: tuple[float, float] | None = None
    """Slowest and fastest round, drawn as a whisker."""


def stacked(label: str, parts: Sequence[tuple[str, str, float]], note: str, *, strong: bool) -> Row:
    """A bar of (kind, name, length) parts one behind the other."""
    segments, position = [], 0.0
    for kind, name, length in parts:
        segments.append(Segment(position, position + length, kind, f"{label}: {name} {length:.3g}"))
        position += length
    return Row(label, segments, note, strong)


def chart(title: str, rows: Sequence[Row], unit: str) -> str:
    """An SVG figure. ``title`` describes it to those who do not see it."""
    longest = max((segment.end for row in rows for segment in row.segments), default=1.0)
    longest = max([longest, *(row.mark[1] for row in rows if row.mark)])
    step = tick_step(longest)
    end = max(longest, step)
    scale = _PLOT / end
    bottom = _TOP + _ROW * len(rows)
    box = f"0 0 {_LABEL + _PLOT + _NOTE} {bottom + _AXIS}"
    parts = [f'<svg viewBox="{box}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>']
    for index in range(int(end / step + 1e-9) + 1):
        x = _LABEL + index * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">'
            f"{_number(index * step)} {escape(unit)}</text>"
        )
    for index, row in enumerate(rows):
        parts += _row(row, _TOP + _ROW * index, scale)
    return "".join([*parts, "</svg>"])


def _row(row: Row, top: float, scale: float) -> list[str]:
    middle = top + _ROW / 2
    weight = ' class="strong"' if row.strong else ""
    parts = [
        f'<text{weight} x="{_LABEL - 10}" y="{middle + 4.5}" text-anchor="end">{escape(row.label)}</text>'
    ]
    reach = 0.0
    for segment in row.segments:
        x, width = segment.start * scale, max(1.0, (segment.end - segment.start) * scale)
        reach = max(reach, x + width)
        parts.append(
            f'<rect class="{segment.kind}" x="{_LABEL + x:.1f}" y="{middle - _BAR / 2}" '
            f'width="{width:.1f}" height="{_BAR}"><title>{escape(segment.title)}</title></rect>'
        )
    if row.mark:
        low, high = (_LABEL + value * scale for value in row.mark)
        reach = max(reach, high - _LABEL)
        line = f"M{low:.1f} {middle}H{high:.1f}m0 -4v8M{low:.1f} {middle - 4}v8"
        parts.append(f'<path class="whisker" d="{line}"/>')
    if row.note:
        parts.append(
            f'<text{weight} x="{_LABEL + reach + 8:.1f}" y="{middle + 4.5}">{escape(row.note)}</text>'
        )
    return parts


def tick_step(longest: float) -> float:
    """A round distance between grid lines that gives four to eight of them."""
    if longest <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(longest / 4))
    return next(magnitude * factor for factor in (1, 2, 5, 10) if longest / (magnitude * factor) <= 8)


def _number(value: float) -> str:
    return f"{value:,.10g}".replace(",", " ")
