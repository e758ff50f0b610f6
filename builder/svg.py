"""Charts as inline SVG: elements, axes, grids. Colours come from the page's CSS, for light and dark pages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

# Below a vertical grid line, and left of a horizontal one, to the base line of its number.
_BELOW, _BESIDE, _HALF_LETTER = 17, 8, 4


def tick_step(span: float) -> float:
    """Returns a round distance between ticks: three to eight of them lie within ``span``."""
    if span <= 0:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(span / 4))
    return next(magnitude * factor for factor in (1, 2, 5, 10) if span / (magnitude * factor) <= 8)


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale from values to pixels: ``low`` is drawn at ``start`` and ``high`` at ``end``."""

    low: float
    high: float
    start: float
    end: float

    @staticmethod
    def around(low: float, high: float, start: float, end: float) -> Axis:
        """Returns an axis that begins and ends at ticks, with ``low`` and ``high`` on it."""
        step = tick_step(max(high - low, 1e-4))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return Axis(first * step, max(last, first + 1) * step, start, end)

    def place(self, value: float) -> float:
        """Returns the pixel of a value."""
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)

    @property
    def ticks(self) -> list[float]:
        """Round values on the axis, evenly apart."""
        step = tick_step(self.high - self.low)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 10) for number in range(first, last + 1)]


def element(tag: str, content: str = "", **attributes: str | float) -> str:
    """Returns an element around ``content``, which is markup; values of attributes are escaped.

    A trailing underscore of a name is dropped (``class_``), other ones become hyphens (``text_anchor``).
    Numbers have one digit after the point.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_attribute(value)}"'
        for name, value in attributes.items()
        if value != ""
    )
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def figure(width: float, height: float, description: str, parts: list[str]) -> str:
    """Returns the whole drawing. ``description`` is for those who do not see it."""
    box = f"0 0 {width:g} {height:g}"
    content = "\n".join([element("title", escape(description)), *parts])
    return element("svg", content, viewBox=box, role="img", aria_label=description)


def text(x: float, y: float, content: str, *, anchor: str = "", class_: str = "") -> str:
    """Returns a line of text whose base line begins, has its middle or ends (``anchor``) at a point."""
    return element("text", escape(content), class_=class_, x=x, y=y, text_anchor=anchor)


def vertical_grid(axis: Axis, top: float, bottom: float, unit: str = "") -> list[str]:
    """Returns a line for each tick of a horizontal axis, with its number below."""
    parts = []
    for value in axis.ticks:
        x = axis.place(value)
        parts.append(element("line", class_="grid", x1=x, x2=x, y1=top, y2=bottom))
        parts.append(text(x, bottom + _BELOW, f"{_number(value)} {unit}", anchor="middle", class_="tick"))
    return parts


def horizontal_grid(axis: Axis, left: float, right: float) -> list[str]:
    """Returns a line for each tick of a vertical axis, with its number to the left."""
    parts = []
    for value in axis.ticks:
        y = axis.place(value)
        parts.append(element("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
        parts.append(text(left - _BESIDE, y + _HALF_LETTER, _number(value), anchor="end", class_="tick"))
    return parts


def _attribute(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}"


def _number(value: float) -> str:
    return f"{value:,.10g}".replace(",", " ")
