"""The comparison as one HTML file: a chart of quality over speed for each model, and the figures below it.

It needs no network and no script: style and drawing are inside, and its policy forbids anything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from builder.compare.chart import Point, chart
from builder.compare.table import number
from builder.progress import megabytes

Report = Mapping[str, Any]

# The figure on the vertical axis, and what it is called.
_QUALITY = {
    "embedding": ("mean_cosine", "mean cosine to FP32 PyTorch"),
    "reranker": ("rank_agreement", "rank agreement with FP32 PyTorch"),
}
# Columns of the table: what is shown, and where it stands in an entry.
_FIGURES = {
    "embedding": (
        *("mean_cosine", "min_cosine", "mean_centred_cosine", "min_centred_cosine"),
        *("top10_overlap", "rank_correlation"),
    ),
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
    introduction = (
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
        f"<h1>Quantization schemes compared</h1>\n<p>{escape(introduction)}</p>",
    ]
    for task, model in report["models"].items():
        parts.append(f"<h2>{escape(task)}: {escape(model['id'])}</h2>")
        measured = [entry for entry in report["schemes"] if task in entry["models"]]
        if measured:
            parts += [_chart(task, measured), _table(task, measured)]
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


def _chart(task: str, measured: Sequence[Report]) -> str:
    figure, quality = _QUALITY[task]
    shape = _shape(task, measured)
    points = [
        Point(
            entry["scheme"],
            1000 / entry["models"][task]["latency_ms"][shape]["median"],
            entry["models"][task]["parity"][figure],
            entry["default"],
            entry["status"] == "ok",
        )
        for entry in measured
        if entry["models"][task]["parity"][figure] is not None
    ]
    tokens = shape.partition("x")[2]
    return chart(points, quality, f"texts of {tokens} tokens a second, one at a time")


def _shape(task: str, measured: Sequence[Report]) -> str:
    """The longest of a single text."""
    shapes = [name for name in measured[0]["models"][task]["latency_ms"] if name.startswith("1x")]
    return str(shapes[-1])


def _table(task: str, measured: Sequence[Report]) -> str:
    shapes = list(measured[0]["models"][task]["latency_ms"])
    figures = _FIGURES[task]
    heading = ["scheme", *(name.replace("_", " ") for name in figures), *(f"{shape} ms" for shape in shapes)]
    heading += ["load ms", "bytes", "memory, first text", "memory, warm"]
    rows = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in heading) + "</tr>"]
    for entry in measured:
        model = entry["models"][task]
        cells = [f"{entry['scheme']}{' (default)' if entry['default'] else ''}"]
        cells += [number(model["parity"][name]) for name in figures]
        cells += [f"{model['latency_ms'][shape]['median']:.2f}" for shape in shapes]
        cells += [f"{model['load_ms']['median']:.0f}"]
        cells += [megabytes(model[name]) for name in ("bytes", "first_resident_bytes", "resident_bytes")]
        mark = ' class="default"' if entry["default"] else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return '<div class="wide"><table>\n' + "\n".join(rows) + "\n</table></div>"
