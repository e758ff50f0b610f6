"""The parity report for reading: one row a figure, with the threshold that it has to meet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from builder.parity.fidelity import figure_of, missed

HEADING: Sequence[str] = ("parity", "figure", "value", "threshold", "")


def report_rows(task: str, report: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yields rows under :data:`HEADING`, with the figures of the gate's texts first.

    Those of shorter vectors follow, then those of the emulated CPU and of the user's own file.
    """
    thresholds = report.get("thresholds", {})
    yield from _rows(task, report, thresholds)
    for dimensions, figures in report.get("matryoshka", {}).items():
        yield from _rows(f"{task}: {dimensions} dimensions", figures, thresholds)
    yield from _rows(task, report.get("cpus", {}).get("emulation", {}), thresholds)
    own = report.get("evaluation")
    if own is not None:
        yield from _rows(f"{task}: {own['file']}", own, thresholds)


def verdict(task: str, report: Mapping[str, Any]) -> str:
    """Returns the line under the table: how many thresholds were met, or what failed and what to do."""
    bounded = [row for row in report_rows(task, report) if row[3]]
    failures = report.get("failures", ())
    if not failures:
        return f"{task}: PASSED {len(bounded)} of {len(bounded)}"
    return (
        f"{task}: FAILED: {'; '.join(failures)}. Take a finer quantization, or set what you accept under "
        f"[parity.SCHEME.{task}] of the config (docs/QUANTIZATION.md has both)"
    )


def _rows(label: str, figures: Mapping[str, Any], thresholds: Mapping[str, float]) -> Iterator[Sequence[str]]:
    bounds = {figure_of(name, figures): (name, bound) for name, bound in thresholds.items()}
    for name, value in figures.items():
        if not isinstance(value, float) and not (value is None and name in bounds):
            continue
        bound, failed = "", False
        if name in bounds:
            threshold, limit = bounds[name]
            bound = f"{'>=' if threshold.startswith('min_') else '<='} {limit:g}"
            failed = bool(missed({name: value}, {threshold: limit}))
        yield (
            label,
            name,
            "not a number" if value is None else f"{value:.6f}",
            bound,
            "failed" if failed else "",
        )
