"""Quality over speed: a point for each scheme, its name where there is room for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import NamedTuple

from builder.svg import Axis, element, figure, horizontal_grid, text, vertical_grid

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 28, 52
_RADIUS = 5.0
_LABEL_HEIGHT, _LETTER_WIDTH = 15, 7
_DEFAULT = " (default)"


@dataclass(frozen=True, slots=True)
class Point:
    """A scheme: texts a second, its quality, whether it is the default, whether it passed its checks."""

    scheme: str
    speed: float
    quality: float
    default: bool
    passed: bool

    @property
    def label(self) -> str:
        """What is written beside it."""
        return self.scheme + _DEFAULT * self.default


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def chart(points: Sequence[Point], quality: str, speed: str) -> str:
    """Returns the figure: quality upwards and speed to the right, so that the best is at the top right.

    Args:
        points: one for each scheme, at least one.
        quality: the name of the vertical axis.
        speed: the name of the horizontal axis.
    """
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    across = Axis.around(0, max(point.speed for point in points) * 1.08, _LEFT, right)
    upwards = Axis.around(min(point.quality for point in points), 1.0, bottom, _TOP)
    parts = [*vertical_grid(across, _TOP, bottom), *horizontal_grid(upwards, _LEFT, right)]
    parts.append(text(_LEFT, 16, quality))
    parts.append(text(right, _HEIGHT - 10, speed, anchor="end"))
    places = [(across.place(point.speed), upwards.place(point.quality)) for point in points]
    margin = _RADIUS + 1
    taken = [_Box(x - margin, y - margin, x + margin, y + margin) for x, y in places]
    for point, (x, y) in zip(points, places, strict=True):
        label_x, label_y, box = _beside(x, y, len(point.label) * _LETTER_WIDTH, taken)
        taken.append(box)
        parts.append(_mark(point, x, y, text(label_x, label_y, point.label, class_="name")))
    return figure(_WIDTH, _HEIGHT, f"{quality} over speed", parts)


def _mark(point: Point, x: float, y: float, label: str) -> str:
    tooltip = f"{point.scheme}: {point.quality:.4f} at {point.speed:.1f} a second"
    circle = element("circle", cx=x, cy=y, r=_RADIUS, class_="" if point.passed else "missed")
    return element(
        "g", element("title", escape(tooltip)) + circle + label, class_="default" if point.default else ""
    )


def _beside(left: float, top: float, width: float, taken: Sequence[_Box]) -> tuple[float, float, _Box]:
    """Returns where a point's label begins, its base line, and its box: the first place that is free."""
    places = [(left + 10, top + 4), (left - 10 - width, top + 4)]
    for rows in range(1, 6):
        down = rows * _LABEL_HEIGHT
        places += [(left - width / 2, top + 4 + down), (left - width / 2, top + 4 - down)]
    boxes = [(place, line, _Box(place, line - 11, place + width, line + 3)) for place, line in places]
    inside = [one for one in boxes if one[2].left >= 0 and one[2].right <= _WIDTH and one[2].top >= 18]
    return next((one for one in inside if not any(one[2].meets(box) for box in taken)), boxes[0])
