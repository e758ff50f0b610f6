"""What a pull request may not exceed: chunks that a start fetches, and how much slower fetching makes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.report.lazy_results import LazyResults, LazySample, Setting
from benchmarks.report.stats import over, ratio


class Bound(NamedTuple):
    """A figure with the value that it may not exceed; None where it was not measured."""

    figure: str
    found: float | None
    limit: float

    @property
    def passed(self) -> bool:
        """Returns whether it was measured and is within the limit."""
        return self.found is not None and self.found <= self.limit

    def __str__(self) -> str:
        found = "not measured" if self.found is None else f"{self.found:.4g}"
        return f"{'ok  ' if self.passed else 'OVER'}  {self.figure}: {found}, at most {self.limit:g}"


def judge(results: LazyResults, *, max_chunks: float, max_ratio: float) -> list[Bound]:
    """Returns the bounds of the first contender.

    Args:
        results: a run that has undelayed and delayed starts.
        max_chunks: fetched until the last answer.
        max_ratio: seconds to an answer with delays, over the same without.
    """
    name = results.contenders[0]
    samples = [one for one in results.samples if one.contender == name]
    chunks = over(samples, lambda one: (one.to_rank or one.to_embed).chunks)
    bounds = [Bound("chunks to the last answer", chunks.median if chunks else None, max_chunks)]
    for setting in (one for one in results.settings if one.delay):
        bounds += _ratios(results, name, setting, max_ratio)
    return bounds


def _ratios(results: LazyResults, name: str, setting: Setting, limit: float) -> list[Bound]:
    undelayed: Sequence[LazySample] = [
        one for one in results.samples if one.contender == name and not one.setting.delay
    ]
    delayed = results.cell(name, setting)
    figure = f"{setting.label} / undelayed"
    embed = ratio(over(delayed, lambda one: one.embed), over(undelayed, lambda one: one.embed))
    found = [Bound(f"{figure}, first embedding", embed, limit)]
    if any(one.rank is not None for one in delayed):
        rank = ratio(over(delayed, lambda one: one.rank), over(undelayed, lambda one: one.rank))
        found.append(Bound(f"{figure}, first ranking", rank, limit))
    return found
