"""Medians and spread of repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

T = TypeVar("T")


class Summary(NamedTuple):
    """``low`` and ``high`` are the extremes: with few rounds, a percentile would only look more exact."""

    median: float
    low: float
    high: float
    rounds: int


def summarize(values: Iterable[float | None]) -> Summary | None:
    """Returns median and extremes of what was measured; None if nothing was."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Summary(statistics.median(known), min(known), max(known), len(known))


def over(records: Sequence[T], figure: Callable[[T], float | None]) -> Summary | None:
    """Returns :func:`summarize` of one figure of each record."""
    return summarize(figure(record) for record in records)


def ratio(above: Summary | None, below: Summary | None) -> float | None:
    """Returns one median over another; None where either is missing."""
    if above is None or below is None or below.median == 0:
        return None
    return above.median / below.median
