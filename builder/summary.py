"""The tables at the end of a build."""

from __future__ import annotations

from collections.abc import Sequence

from builder.model import BuiltModel
from builder.parity.table import HEADING, report_rows, verdict
from builder.progress import Progress, megabytes, table
from builder.quantization.mixed import replay


def summary(built: Sequence[BuiltModel], progress: Progress) -> str:
    """Returns the tables at the end: bytes before and after, parity, seconds for each step."""
    sizes: list[Sequence[str]] = [("model", "quantization", "source", "bundle", "ratio", "tokenizer")]
    figures: list[Sequence[str]] = [HEADING]
    for one in built:
        model = one.info
        size = sum(file.bytes for file in model.files)
        sizes.append(
            (
                f"{model.task}: {model.id}",
                f"{model.quantization.scheme} ({model.quantization.weight_bits} bits)",
                megabytes(one.source_bytes),
                megabytes(size),
                f"{size / one.source_bytes:.2f}",
                model.tokenizer_kind,
            )
        )
        figures.extend(report_rows(model.task, model.parity))
    steps: list[Sequence[str]] = [
        ("step", "seconds"),
        *((name, f"{seconds:.1f}") for name, seconds in progress.seconds.items()),
    ]
    steps.append(("total", f"{sum(progress.seconds.values()):.1f}"))
    tables = [sizes, figures, steps] if len(figures) > 1 else [sizes, steps]
    parts = [table(rows) for rows in tables]
    if len(figures) > 1:
        parts[1] += "\n" + "\n".join(verdict(one.info.task, one.info.parity) for one in built)
    parts += [replay(one.info.task, one.assignment) for one in built if one.assignment is not None]
    return "\n\n".join(parts) + "\n"
