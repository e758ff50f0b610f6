"""The figures that a run is judged by, each computed from the run's own data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.report.results import Cache, Results, Sample, WarmSample
from benchmarks.report.stats import Summary, over, ratio

MEGABYTE = 1e6


@dataclass(frozen=True, slots=True)
class Target:
    """A figure and its limit.

    ``value`` is None where the run did not measure it. ``minimum`` says whether it has to reach the limit,
    or may not exceed it.
    """

    figure: str
    value: float | None
    limit: float
    minimum: bool
    unit: str

    @property
    def met(self) -> bool | None:
        """Returns whether the target is met; None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.minimum else self.value <= self.limit

    @property
    def verdict(self) -> str:
        """Returns the result in words."""
        return {None: "not measured", True: "met", False: "missed"}[self.met]

    @property
    def wanted(self) -> str:
        """Returns the bound in words."""
        return f"{self.format(self.limit)} or {'more' if self.minimum else 'less'}"

    @property
    def found(self) -> str:
        """Returns the measured figure as text."""
        return "-" if self.value is None else self.format(self.value, 2 if self.unit == "x" else 1)

    def format(self, value: float, digits: int | None = None) -> str:
        """Returns a value of this figure with its unit."""
        number = f"{value:g}" if digits is None else f"{value:.{digits}f}"
        return f"{number}{self.unit if self.unit in ('x', '%') else ' ' + self.unit}"


class _Run:
    """Medians of a run under the condition of the targets: the most CPUs that it had."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._cpus = max((one.cpus for one in results.samples), default=0)

    def cold_start(
        self, contender: str, figure: Callable[[Sample], float | None], cache: Cache = "warm"
    ) -> Summary | None:
        return over(self._results.cell(contender, self._cpus, cache), figure)

    def throughput(self, contender: str, *, best: bool = False) -> Summary | None:
        samples: list[WarmSample] = [one for one in self._results.warm if one.contender == contender]
        return over(samples, lambda one: one.best_texts_per_second if best else one.texts_per_second)

    def megabytes(self, figure: Callable[[Sample], float]) -> float | None:
        found = self.cold_start("ours", figure)
        return None if found is None else found.median / MEGABYTE

    def share_read(self, contender: str) -> float | None:
        """Returns how many percent of the two-model bundle a start from a cold page cache read."""
        # A bundle of which pages stayed does not show what would have been read.
        found = self.cold_start(contender, lambda one: None if one.residue else one.models_read, "cold")
        size = self._results.sizes.get("ours")
        return None if found is None or size is None else found.median / size.models * 100


def compute_targets(results: Results) -> list[Target]:
    """Returns every target, measured or not."""
    run = _Run(results)

    def embed(name: str) -> Summary | None:
        return run.cold_start(name, lambda one: one.embed)

    ours, floor = embed("ours"), embed("floor")
    int8 = run.throughput("ours")
    fp32, fastembed = run.throughput("ours-fp32"), run.throughput("fastembed")
    tuned = run.throughput("fastembed", best=True)
    return [
        Target("PyTorch INT8 / ours, first embed", ratio(embed("pytorch-int8"), ours), 20, True, "x"),
        Target("fastembed / ours, first embed", ratio(embed("fastembed"), ours), 4, True, "x"),
        Target("ours / floor, first embed", ratio(ours, floor), 1.9, False, "x"),
        Target("resident memory after both", run.megabytes(lambda one: one.resident), 290, False, "MB"),
        Target("anonymous part of it", run.megabytes(lambda one: one.anonymous), 120, False, "MB"),
        Target("bundle read from a cold cache, both models", run.share_read("ours"), 50, False, "%"),
        Target("bundle read, embed only", run.share_read("ours-pipeline"), 35, False, "%"),
        Target("pipeline / floor, first embed", ratio(embed("ours-pipeline"), floor), 1.3, False, "x"),
        Target("INT8 / FP32 throughput, mixed lengths", ratio(int8, fp32), 2.6, True, "x"),
        Target("throughput / fastembed's, same INT8 model", ratio(int8, fastembed), 1.5, True, "x"),
        Target("the same, fastembed at its best batch size", ratio(int8, tuned), 1.5, True, "x"),
    ]
