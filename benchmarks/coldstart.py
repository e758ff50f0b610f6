"""Cold starts side by side: ``python -m benchmarks.coldstart`` (``make bench``).

Every contender is a Lambda function under the Runtime Interface Emulator and awslambdaric, with the same
models (full size, random weights) and, but for the pipeline and the floor, the same FastAPI and Mangum in
front. One machine, one run, rounds interleaved; medians and extremes. What is needed is made once and kept in
.cache/bench (or BENCH_CACHE): about 10 GB and, the first time, ten minutes. One contender is the function's
image in a container; it is left out where there is no Docker engine, or where the user is not root.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.harness.contender import CONTENDERS, OURS_FP32, Contender
from benchmarks.harness.environments import SetupError
from benchmarks.harness.exit_status import exit_status
from benchmarks.harness.paths import RESULTS
from benchmarks.measure.run import RunError
from benchmarks.measure.session import Plan, measure
from benchmarks.measure.warm import Amount
from benchmarks.report import png, results, terminal
from benchmarks.report.page import render
from benchmarks.report.results import CACHES, Cache
from lambda_app.cpu import available_cpus
from scripts.image.build import ImageError, docker_program
from scripts.local.rie import EmulatorError, can_emulate


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark that the arguments describe."""
    options = _parser().parse_args(arguments)
    failures = (RunError, SetupError, ImageError, EmulatorError, png.PictureError, ValueError)
    return exit_status(lambda: _run(options), *failures)


def _run(options: argparse.Namespace) -> int:
    if options.show is not None:
        run = results.read(options.show)
    else:
        if not can_emulate():
            print("the Lambda emulator runs on Linux only", file=sys.stderr)
            return 1
        run = measure(_plan(options))
        results.write(run, options.json)
    print(terminal.report(run))
    options.html.parent.mkdir(parents=True, exist_ok=True)
    options.html.write_text(render(run), encoding="utf-8")
    print(f"{options.html}")
    if options.png is not None:
        png.export(options.html, options.png)
        print(f"{options.png}")
    return 0


def _plan(options: argparse.Namespace) -> Plan:
    by_name = {one.name: one for one in CONTENDERS}
    chosen = [by_name[name] for name in options.contenders or default_contenders()]
    # Warm, the image is the same function once more.
    http = [one for one in chosen if one.source == "http" and not one.contained]
    return Plan(
        contenders=[] if options.only == "warm" else chosen,
        warm_contenders=[] if options.only == "cold" else [*http, *_fp32_beside(http)],
        cpus=options.cpus,
        caches=options.cache,
        rounds=1 if options.quick else options.rounds,
        warm_rounds=0 if options.only == "cold" else 1 if options.quick else options.warm_rounds,
        amount=Amount(),
    )


def default_contenders() -> list[str]:
    """Returns the names of all that can be run here."""
    contained = [one.name for one in CONTENDERS if one.contained]
    try:
        if os.geteuid():
            raise ImageError("only root sees what of an image is in the page cache")
        docker_program(os.environ)
    except ImageError as error:
        print(f"left out: {', '.join(contained)} ({error})", file=sys.stderr)
        return [one.name for one in CONTENDERS if not one.contained]
    return [one.name for one in CONTENDERS]


def _fp32_beside(contenders: list[Contender]) -> list[Contender]:
    return [OURS_FP32] if any(one.ours for one in contenders) else []


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.coldstart",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in CONTENDERS]
    present = available_cpus()
    add = parser.add_argument
    add("--contenders", type=_names(names), metavar="A,B", help=f"of {', '.join(names)}")
    add("--rounds", type=int, default=5, help="cold starts of each contender and condition (default: 5)")
    add("--warm-rounds", type=int, default=5, help="rounds of the warm figures (default: 5)")
    add("--cpus", type=_cpus, default=sorted({1, min(2, present)}, reverse=True), metavar="1,2")
    add("--cache", type=_caches, default=list(CACHES), metavar="warm,cold", help="of the page cache")
    add("--only", choices=("cold", "warm"), help="cold starts only, or warm figures only")
    add("--quick", action="store_true", help="one round of everything")
    add("--json", type=Path, default=RESULTS / "coldstart.json", metavar="PATH")
    add("--html", type=Path, default=RESULTS / "coldstart.html", metavar="PATH")
    add("--png", type=Path, metavar="PATH", help="the page as a picture too, through chromium")
    add("--show", type=Path, metavar="JSON", help="measure nothing, show an earlier run")
    return parser


class _names:  # noqa: N801 (argparse shows the name when a value is wrong)
    """A comma-separated choice, in the order of ``allowed``."""

    def __init__(self, allowed: list[str]) -> None:
        self._allowed = allowed

    def __call__(self, value: str) -> list[str]:
        chosen = set(value.split(","))
        if not chosen <= set(self._allowed):
            raise argparse.ArgumentTypeError(f"choose from {', '.join(self._allowed)}")
        return [name for name in self._allowed if name in chosen]


def _cpus(value: str) -> list[int]:
    return sorted({int(part) for part in value.split(",")}, reverse=True)


def _caches(value: str) -> list[Cache]:
    chosen = set(_names(list(CACHES))(value))
    return [cache for cache in CACHES if cache in chosen]


if __name__ == "__main__":
    sys.exit(main())
