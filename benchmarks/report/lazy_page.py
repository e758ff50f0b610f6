"""Seconds over chunk latency: a run of the lazy image as one HTML page."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from benchmarks.report.lazy_results import LazyResults, LazySample, Setting, report
from benchmarks.report.page_style import CSS
from builder.svg import Axis, element, figure, text

# What the simulation leaves out; docs/COLD_START.md says the same.
NOT_MODELLED = (
    "Not modelled: the bandwidth of the network, decryption, the queue of a real block device, memory "
    "pressure, and the freezing of the process after its answer."
)
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 1060, 420, 64, 240, 24, 52
_LABEL_HEIGHT = 16
_COLOURS = ("blue", "sky", "green", "purple", "orange", "gold", "red", "grey")
_LINES = "".join(
    f".l{index} {{ stroke: var(--{name}); fill: none; stroke-width: 2 }} .d{index} {{ fill: var(--{name}) }} "
    for index, name in enumerate(_COLOURS)
)


def render(results: LazyResults) -> str:
    """Returns the page."""
    facts = results.facts
    about = "".join(f"<dt>{escape(name)}</dt><dd>{escape(what)}</dd>" for name, what in results.about.items())
    line = (
        f"{facts['date']}, {facts['processor']}, {facts['cpus']} CPUs, read-ahead "
        f"{facts['read_ahead'] >> 10} KiB. Medians of {facts['rounds']} interleaved rounds."
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Lazy image benchmark</title><style>{CSS}{_LINES}</style></head>\n<body><main>"
        "<header><h1>A start from an image that arrives chunk by chunk</h1><p>Each image as one file "
        "system whose 512 KiB chunks wait when they are first read, as in Lambda.</p>"
        f"<p>{escape(line)}</p><p>{NOT_MODELLED}</p></header>\n{_charts(results)}\n"
        f"<section><h2>Contenders</h2><dl>{about}</dl></section>"
        f"<section><h2>All figures</h2><pre>{escape(report(results))}</pre></section></main></body></html>\n"
    )


def _charts(results: LazyResults) -> str:
    parts = []
    for at_once in sorted({one.at_once for one in results.settings if one.delay}):
        for what, value in (("embedding", _embed), ("ranking", _rank)):
            lines = lines_of(results, at_once, value)
            if lines:
                title = f"Seconds to the first {what}, {at_once} chunk{'s' * (at_once > 1)} at once"
                svg = chart(title, lines, results.contenders)
                parts.append(f"<section><h2>{title}</h2><div class=scroll>{svg}</div></section>")
    return "\n".join(parts)


def _embed(sample: LazySample) -> float | None:
    return sample.embed


def _rank(sample: LazySample) -> float | None:
    return sample.rank


Lines = Mapping[str, Sequence[tuple[float, float]]]


def lines_of(results: LazyResults, at_once: int, value: Callable[[LazySample], float | None]) -> Lines:
    """Returns each contender's points: delay in seconds, median. Undelayed starts belong to every chart."""
    found = {}
    chosen: list[Setting] = [one for one in results.settings if one.at_once == at_once or not one.delay]
    for name in results.contenders:
        points = [
            (setting.delay, summary.median)
            for setting in sorted(chosen)
            if (summary := results.summary(name, setting, value)) is not None
        ]
        if points:
            found[name] = points
    return found


def chart(title: str, lines: Lines, names: Sequence[str]) -> str:
    """Returns the figure: delays side by side, seconds upwards on a logarithmic scale.

    Args:
        title: what it shows, for those who do not see it.
        lines: at least one line with at least one point.
        names: of all lines of the page, so that each has one colour in all charts.
    """
    delays = sorted({delay for points in lines.values() for delay, _ in points})
    values = [value for points in lines.values() for _, value in points]
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
    ticks = ticks_around(min(values), max(values))
    upwards = Axis(math.log10(ticks[0]), math.log10(ticks[-1]), bottom, _TOP)
    step = (right - _LEFT) / max(1, len(delays) - 1)
    across = {delay: _LEFT + step * index for index, delay in enumerate(delays)}
    parts = []
    for tick in ticks:
        y = upwards.place(math.log10(tick))
        parts.append(element("line", class_="grid", x1=_LEFT, x2=right, y1=y, y2=y))
        parts.append(text(_LEFT - 8, y + 4, f"{tick:g} s", anchor="end", class_="tick"))
    for delay, x in across.items():
        parts.append(text(x, bottom + 18, f"{delay * 1000:g} ms", anchor="middle", class_="tick"))
    parts.append(text(right, _HEIGHT - 12, "latency of a chunk", anchor="end", class_="tick"))
    ends = []
    for name, points in lines.items():
        places = [(across[delay], upwards.place(math.log10(value))) for delay, value in points]
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
        colour = names.index(name) % len(_COLOURS)
        parts.append(element("path", class_=f"l{colour}", d=path))
        parts += [element("circle", class_=f"d{colour}", cx=x, cy=y, r=3.5) for x, y in places]
        ends.append((places[-1][1], f"{name}, {points[-1][1]:.2f} s"))
    for (_, label), y in zip(sorted(ends), spread(sorted(y for y, _ in ends)), strict=True):
        parts.append(text(right + 12, y + 4, label, class_="strong" if label.startswith("ours") else ""))
    return figure(_WIDTH, _HEIGHT, title, parts)


def ticks_around(low: float, high: float) -> list[float]:
    """Returns 1, 2 and 5 times powers of ten: two or more, with ``low`` and ``high`` between them."""
    steps = [factor * 10.0**power for power in range(-4, 6) for factor in (1, 2, 5)]
    first = max(index for index, step in enumerate(steps) if step <= max(low, steps[0]))
    last = min(index for index, step in enumerate(steps) if step >= min(high, steps[-1]))
    return steps[first : max(last, first + 1) + 1]


def spread(places: Sequence[float]) -> list[float]:
    """Returns ascending places moved down until labels of one line fit between them."""
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + _LABEL_HEIGHT) if moved else place)
    return moved
