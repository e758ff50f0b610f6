"""The comparison as a table for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from builder.progress import megabytes, table

# Figures of the table: of an embedding model, and of a cross-encoder.
QUALITY: Mapping[str, Sequence[str]] = {
    "embedding": ("mean_cosine", "min_cosine", "mean_centred_cosine", "top10_overlap"),
    "reranker": ("mean_score_difference", "max_score_difference", "rank_agreement"),
}

Report = Mapping[str, Any]


def summary(report: Report) -> str:
    """A table for each model: one row a scheme, the default with a star."""
    tables = []
    for task, model in report["models"].items():
        measured = [entry["models"][task] for entry in report["schemes"] if task in entry["models"]]
        if not measured:
            continue
        shapes = list(measured[0]["latency_ms"])
        heading = (
            f"{task}: {model['id']}",
            *(name.replace("_", " ") for name in QUALITY[task]),
            *(f"{shape} ms" for shape in shapes),
            *("load ms", "bytes", "memory", ""),
        )
        rows: list[Sequence[str]] = [heading]
        rows += [_row(entry, task, shapes) for entry in report["schemes"]]
        tables.append(table(rows))
    notes = [
        f"{entry['scheme']} {entry['status']}: {entry['reason']}"
        for entry in report["schemes"]
        if entry["reason"]
    ]
    return "\n\n".join([*tables, *(["\n".join(notes)] if notes else []), "* the default"]) + "\n"


def number(figure: float | None) -> str:
    """Returns a figure of a parity report as text; None is one that is not a number."""
    return "nan" if figure is None else f"{figure:.4f}"


def _row(entry: Report, task: str, shapes: Sequence[str]) -> Sequence[str]:
    name = f"{entry['scheme']}{' *' if entry['default'] else ''}"
    status = "" if entry["status"] == "ok" else entry["status"]
    if task not in entry["models"]:
        return (name, *("-" for _ in range(len(QUALITY[task]) + len(shapes) + 3)), status)
    model = entry["models"][task]
    return (
        name,
        *(number(model["parity"][figure]) for figure in QUALITY[task]),
        *(f"{model['latency_ms'][shape]['median']:.2f}" for shape in shapes),
        f"{model['load_ms']['median']:.0f}",
        megabytes(model["bytes"]),
        megabytes(model["resident_bytes"]),
        status,
    )
