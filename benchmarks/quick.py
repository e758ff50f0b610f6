"""The benchmark of every day: ``python -m benchmarks.quick`` (``make bench-quick``), under three minutes.

Embedding only, full size, page cache warm. Judged by ratios within the run and by wide margins, never by a
time: it is there to catch what makes the function twice as slow, on any machine. The one to quote is
``benchmarks.coldstart``.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace

from benchmarks.harness.artefacts import EMBEDDER
from benchmarks.harness.contender import CONTENDERS, Contender
from benchmarks.harness.environments import SetupError
from benchmarks.harness.exit_status import exit_status
from benchmarks.harness.paths import RESULTS
from benchmarks.measure.run import RunError
from benchmarks.measure.session import Plan, measure
from benchmarks.measure.warm import QUICK
from benchmarks.report import results, terminal
from benchmarks.report.results import Results
from benchmarks.report.stats import over, ratio
from builder.progress import table
from scripts.local.rie import EmulatorError, can_emulate

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Check:
    """A ratio of this run, and the range outside which something is badly wrong."""

    figure: str
    value: float | None
    minimum: float = 0.0
    maximum: float = float("inf")

    @property
    def passed(self) -> bool:
        """Returns whether the ratio is between its bounds."""
        return self.value is not None and self.minimum <= self.value <= self.maximum

    @property
    def wanted(self) -> str:
        """Returns the bound in words."""
        return f"{self.maximum:g}x or less" if self.minimum == 0 else f"{self.minimum:g}x or more"


def contenders() -> tuple[list[Contender], list[Contender]]:
    """Returns those started cold, and those measured warm; all only embed, without a reranker."""
    by_name = {one.name: one for one in CONTENDERS}
    ours = replace(by_name["ours"], artefacts=("bundles/int8-embedding",), reranks=False)
    pipeline = replace(by_name["ours-pipeline"], artefacts=ours.artefacts)
    floor = replace(by_name["floor"], artefacts=ours.artefacts)
    plain = replace(
        by_name["ort-plain"], artefacts=(f"onnx/{EMBEDDER}",), reranks=False,
        variables={"BENCH_EMBED_ONLY": "1"}, batch_sizes=(None,),
    )  # fmt: skip
    fp32 = replace(ours, name="ours-fp32", about="this function, FP32", artefacts=("bundles/none-embedding",))
    return [ours, pipeline, plain, floor], [ours, fp32]


def judge(run: Results) -> list[Check]:
    """Returns the ratios. Margins are 1.5 times what was seen, for machines that are busy or old."""
    cpus = max(one.cpus for one in run.samples)
    embed = {name: over(run.cell(name, cpus, "warm"), lambda one: one.embed) for name in run.contenders}
    speed = {
        name: over([one for one in run.warm if one.contender == name], lambda one: one.texts_per_second)
        for name in run.contenders
    }
    return [
        Check("ours / floor, first embed", ratio(embed["ours"], embed["floor"]), maximum=3.3),
        Check("pipeline / floor, first embed", ratio(embed["ours-pipeline"], embed["floor"]), maximum=2.0),
        Check("ort-plain / ours, first embed", ratio(embed["ort-plain"], embed["ours"]), minimum=1.2),
        Check("INT8 / FP32 throughput", ratio(speed["ours"], speed["ours-fp32"]), minimum=1.3),
    ]


def main() -> int:
    """Measures the ratios, prints them, and fails if one misses its bound."""
    if not can_emulate():
        print("the Lambda emulator runs on Linux only: nothing measured")
        return 0
    return exit_status(_run, RunError, SetupError, EmulatorError)


def _run() -> int:
    began = time.monotonic()
    cold, warm = contenders()
    cpus = min(2, len(os.sched_getaffinity(0)))
    run = measure(Plan(cold, warm, [cpus], ["warm"], ROUNDS, 1, QUICK))
    results.write(run, RESULTS / "quick.json")
    checks = judge(run)
    print(terminal.figures(run))
    rows = [
        [
            check.figure,
            "-" if check.value is None else f"{check.value:.2f}x",
            check.wanted,
            "ok" if check.passed else "FAILED",
        ]
        for check in checks
    ]
    print("\n" + table([["ratio", "found", "has to be", ""], *rows]))
    print(f"\n{time.monotonic() - began:.0f} s")
    return 0 if all(check.passed for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
