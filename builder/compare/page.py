"""The comparison as one HTML file: a chart of quality over speed for each model, and the figures below it.

It needs no network and no script: style and drawing are inside, and its policy forbids anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import floor, log10
from typing import Any, NamedTuple

from builder.progress import megabytes

Report = Mapping[str, Any]

_WIDTH, _HEIGHT = 760, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 24, 28, 52
_LABEL_HEIGHT, _LETTER_WIDTH = 15, 7
# The figure on the vertical axis, and what it is called.
_QUALITY = {
    "embedding": ("mean_cosine", "mean cosine to FP32 PyTorch"),
    "reranker": ("rank_agreement", "rank agreement with FP32 PyTorch"),
}
# Columns of the table: what is shown, and where it stands in an entry.
_FIGURES = {
    "embedding": ("mean_cosine", "min_cosine", "top10_overlap", "rank_correlation"),
    "reranker": ("mean_score_difference", "max_score_difference", "rank_agreement", "kendall_tau"),
}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5c6b7a; --line: #d5dce3; --back: #fff;
  --point: #3b6ea8; --chosen: #c2410c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf0; --soft: #9aa8b5; --line: #36424e;
  --back: #12181e; --point: #7fb2ea; --chosen: #fb923c } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); max-width: 1240px;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.2rem }
p { color: var(--soft); max-width: 70ch }
svg { width: 100%; max-width: 760px; height: auto; display: block }
svg text { font: 12px system-ui, sans-serif; fill: var(--soft) }
svg .name { fill: var(--ink) } svg .grid { stroke: var(--line) }
svg circle { fill: var(--point); stroke: var(--point); stroke-width: 2 }
svg .missed { fill: var(--back) }
svg .default circle { fill: var(--chosen); stroke: var(--chosen) }
svg .default circle.missed { fill: var(--back) }
svg .default .name { fill: var(--chosen); font-weight: 600 }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 1rem 0 }
th, td { text-align: right; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap }
th:first-child, td:first-child { text-align: left } th { color: var(--soft); font-weight: 600 }
tr.default td:first-child { color: var(--chosen); font-weight: 600 }
"""


def page(report: Report) -> str:
    """The whole file."""
    machine = report["machine"]
    threads = machine["threads"]
    told = (
        "Quality is measured against the FP32 PyTorch model. Times are medians over "
        f"{report['rounds']} rounds, in each of which every scheme was opened in a process of its own, "
        f"running the function's code with {threads} thread{'s' * (threads != 1)}; a shape is texts x tokens "
        f"of each. Memory is that of the whole process. CPU: {machine['arch']}, "
        f"{machine['kernel'] or 'no known integer kernels'}."
    )
    parts = [
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>Quantization schemes compared</title>\n<style>{_STYLE}</style>\n</head>\n<body>",
        f"<h1>Quantization schemes compared</h1>\n<p>{escape(told)}</p>",
    ]
    for role, model in report["models"].items():
        parts.append(f"<h2>{escape(role)}: {escape(model['id'])}</h2>")
        measured = [entry for entry in report["schemes"] if role in entry["models"]]
        if measured:
            parts += [_chart(role, measured), _table(role, measured)]
    reasons = [entry for entry in report["schemes"] if entry["reason"]]
    if reasons:
        parts.append("<h2>Not as wanted</h2>\n<ul>")
        parts += [
            f"<li><strong>{escape(entry['scheme'])}</strong> {escape(entry['status'])} "
            f"({escape(entry['code'])}): {escape(entry['reason'])}</li>"
            for entry in reasons
        ]
        parts.append("</ul>")
    return "\n".join([*parts, "</body>\n</html>\n"])


def _chart(role: str, measured: Sequence[Report]) -> str:
    """Quality upwards, speed to the right: the best is at the top right."""
    figure, axis = _QUALITY[role]
    shape = _shape(role, measured)
    points = [
        (1000 / latency["median"], entry["models"][role]["parity"][figure])
        for entry in measured
        for latency in [entry["models"][role]["latency_ms"][shape]]
    ]
    across = _ticks(0, max(speed for speed, _ in points) * 1.08)
    upwards = _ticks(min(quality for _, quality in points), 1.0)
    width, height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(value: float) -> float:
        return _LEFT + width * (value - across[0]) / (across[-1] - across[0])

    def y(value: float) -> float:
        return _TOP + height * (upwards[-1] - value) / (upwards[-1] - upwards[0])

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(axis)} over speed">']
    for value in across:
        parts.append(
            f'<line class="grid" x1="{x(value):.1f}" x2="{x(value):.1f}" y1="{_TOP}" y2="{_TOP + height}"/>'
        )
        parts.append(
            f'<text x="{x(value):.1f}" y="{_TOP + height + 18}" text-anchor="middle">{value:g}</text>'
        )
    for value in upwards:
        parts.append(
            f'<line class="grid" x1="{_LEFT}" x2="{_LEFT + width}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    tokens = shape.partition("x")[2]
    parts.append(f'<text x="{_LEFT}" y="16">{escape(axis)}</text>')
    parts.append(
        f'<text x="{_LEFT + width}" y="{_HEIGHT - 10}" text-anchor="end">texts of {tokens} tokens a second, '
        "one at a time</text>"
    )
    taken = [_Box(x(speed) - 6, y(quality) - 6, x(speed) + 6, y(quality) + 6) for speed, quality in points]
    for entry, (speed, quality) in zip(measured, points, strict=True):
        left, top = x(speed), y(quality)
        letters = len(entry["scheme"]) + (10 if entry["default"] else 0)
        place, line, box = _beside(left, top, letters * _LETTER_WIDTH, taken)
        taken.append(box)
        default = entry["default"]
        mark = ' class="default"' if default else ""
        missed = ' class="missed"' if entry["status"] != "ok" else ""
        parts.append(
            f"<g{mark}>"
            f"<title>{escape(entry['scheme'])}: {quality:.4f} at {speed:.1f} a second</title>"
            f'<circle cx="{left:.1f}" cy="{top:.1f}" r="5"{missed}/>'
            f'<text class="name" x="{place:.1f}" y="{line:.1f}">'
            f"{escape(entry['scheme'])}"
            f"{' (default)' if default else ''}</text></g>"
        )
    return "\n".join([*parts, "</svg>"])


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


def _beside(left: float, top: float, width: float, taken: Sequence[_Box]) -> tuple[float, float, _Box]:
    """Where the name of a point begins, its base line, and what it covers: the first place that is free."""
    places = [(left + 10, top + 4), (left - 10 - width, top + 4)]
    for rows in range(1, 6):
        down = rows * _LABEL_HEIGHT
        places += [(left - width / 2, top + 4 + down), (left - width / 2, top + 4 - down)]
    boxes = [(place, line, _Box(place, line - 11, place + width, line + 3)) for place, line in places]
    inside = [one for one in boxes if one[2].left >= 0 and one[2].right <= _WIDTH and one[2].top >= 18]
    return next((one for one in inside if not any(one[2].meets(box) for box in taken)), boxes[0])


def _shape(role: str, measured: Sequence[Report]) -> str:
    """The longest of a single text."""
    shapes = [name for name in measured[0]["models"][role]["latency_ms"] if name.startswith("1x")]
    return str(shapes[-1])


def _ticks(least: float, most: float) -> list[float]:
    """Round numbers, evenly apart, that both ends lie within."""
    rough = max(most - least, 1e-4) / 5
    power = 10.0 ** floor(log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    first, last = floor(least / step + 1e-9), -floor(-most / step + 1e-9)
    return [round(number * step, 10) for number in range(first, max(last, first + 1) + 1)]


def _table(role: str, measured: Sequence[Report]) -> str:
    shapes = list(measured[0]["models"][role]["latency_ms"])
    figures = _FIGURES[role]
    heading = ["scheme", *(name.replace("_", " ") for name in figures), *(f"{shape} ms" for shape in shapes)]
    heading += ["load ms", "bytes", "memory, first text", "memory, warm"]
    rows = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in heading) + "</tr>"]
    for entry in measured:
        model = entry["models"][role]
        cells = [f"{entry['scheme']}{' (default)' if entry['default'] else ''}"]
        cells += [f"{model['parity'][name]:.4f}" for name in figures]
        cells += [f"{model['latency_ms'][shape]['median']:.2f}" for shape in shapes]
        cells += [f"{model['load_ms']['median']:.0f}"]
        cells += [megabytes(model[name]) for name in ("bytes", "first_resident_bytes", "resident_bytes")]
        mark = ' class="default"' if entry["default"] else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(rows) + "\n</table></div>"
