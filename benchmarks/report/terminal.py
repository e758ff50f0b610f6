"""A run's figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.report.results import Cache, Results, Sample, WarmSample
from benchmarks.report.stats import Summary, over
from benchmarks.report.targets import MEGABYTE, compute_targets
from builder.progress import table

CONDITIONS = {"warm": "page cache warm", "cold": "page cache cold"}


def report(results: Results) -> str:
    """Returns everything: one table for each condition, warm figures, targets, and what to keep in mind."""
    return "\n\n".join([figures(results), "Targets\n" + _target_table(results), *notes(results)]) + "\n"


def figures(results: Results) -> str:
    """Returns one table for each condition, and one of warm figures."""
    parts = [
        f"{condition(cpus, cache)}: seconds from process start (fastest-slowest round), sizes in MB\n"
        + _cold_table(results, cpus, cache)
        for cpus, cache in results.conditions()
    ]
    if results.warm:
        parts.append("Warm: milliseconds per request, texts per second\n" + _warm_table(results))
    return "\n\n".join(parts)


def condition(cpus: int, cache: Cache) -> str:
    """Returns a condition in words."""
    return f"{cpus} CPU{'s' if cpus > 1 else ''}, {CONDITIONS[cache]}"


def notes(results: Results) -> list[str]:
    """Returns what a reader has to know to trust the figures, or not to."""
    found = []
    failed = sorted({one.contender for one in results.samples if one.residue})
    if failed:
        found.append(
            f"Files of {', '.join(failed)} could not all be evicted before some cold starts (another process "
            "has them mapped): their cold figures are too good."
        )
    load, cpus = results.facts.get("load_at_begin", 0.0), results.facts.get("cpus", 1)
    if load > 0.3 * cpus:
        found.append(f"The machine was busy when the run began (load {load:.1f} on {cpus} CPUs).")
    return found


def _cold_table(results: Results, cpus: int, cache: Cache) -> str:
    columns: list[tuple[str, Callable[[Sample], float | None], float, int]] = [
        ("ready", lambda one: one.ready, 1, 2),
        ("first embed", lambda one: one.embed, 1, 2),
        ("first rerank", lambda one: one.rerank, 1, 2),
        ("CPU s", lambda one: one.cpu_seconds, 1, 2),
        ("resident", lambda one: one.resident, MEGABYTE, 0),
        ("anonymous", lambda one: one.anonymous, MEGABYTE, 0),
        ("peak", lambda one: one.peak, MEGABYTE, 0),
    ]
    if cache == "cold":
        columns += [
            ("models read", lambda one: one.models_read, MEGABYTE, 0),
            ("code read", lambda one: one.code_read, MEGABYTE, 0),
        ]
    rows = []
    for name in results.contenders:
        samples = results.cell(name, cpus, cache)
        if samples:
            size = results.sizes.get(name)
            image = "-" if size is None else f"{(size.code + size.models) / MEGABYTE:.0f}"
            rows.append(
                [name, *(spread(over(samples, get), unit, digits) for _, get, unit, digits in columns), image]
            )
    return table([["contender", *(title for title, *_ in columns), "image adds"], *rows])


def _warm_table(results: Results) -> str:
    columns: list[tuple[str, Callable[[WarmSample], float | None], float, int]] = [
        ("1 x 16 tokens", lambda one: one.embed_16, 1e-3, 1),
        ("1 x 128 tokens", lambda one: one.embed_128, 1e-3, 1),
        ("rerank 25", lambda one: one.rerank_25, 1e-3, 0),
        ("texts/s, mixed", lambda one: one.texts_per_second, 1, 1),
        ("best texts/s", lambda one: one.best_texts_per_second, 1, 1),
    ]
    rows = []
    for name in results.contenders:
        samples = [one for one in results.warm if one.contender == name]
        if samples:
            chosen = samples[0].best_batch
            figures = [spread(over(samples, get), unit, digits) for _, get, unit, digits in columns]
            rows.append([name, *figures, "default" if chosen is None else str(chosen)])
    return table([["contender", *(title for title, *_ in columns), "best batch"], *rows])


def _target_table(results: Results) -> str:
    rows = [
        [target.figure, target.found, target.wanted, target.verdict] for target in compute_targets(results)
    ]
    return table([["figure", "found", "target", ""], *rows])


def spread(summary: Summary | None, unit: float = 1, digits: int = 2) -> str:
    """Returns ``median (low-high)``, the bracket left out where it would say the same."""
    if summary is None:
        return "-"
    median, low, high = (f"{value / unit:.{digits}f}" for value in summary[:3])
    return median if low == high else f"{median} ({low}-{high})"
