"""What each import of a start costs: ``python -m benchmarks.imports``.

Starts the function's init in processes of its own, with the import pack and with one CPU, and reads what
``python -X importtime`` says of each module. A package's cost is that of its own modules, beside that of the
standard library's modules which it was the first to import; figures are medians over the processes. Tracing
makes every import slower by the same few microseconds, so the sum is above that of an untraced start.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import artefacts
from benchmarks.harness.paths import cache
from benchmarks.techniques import BUNDLE, VARIANTS, write_pack
from builder.progress import table
from scripts.paths import ROOT

LINE = re.compile(r"import time:\s+(?P<own>\d+) \|\s+\d+ \| (?P<indent> *)(?P<name>\S+)")


class Import(NamedTuple):
    """A module that was imported: its own time in milliseconds, and the package that asked for it first."""

    name: str
    milliseconds: float
    owner: str


class Cost(NamedTuple):
    """What a package costs, in milliseconds."""

    modules: int
    own: float
    standard: float
    heaviest: Sequence[tuple[str, float]]


def read(trace: str) -> list[Import]:
    """Returns the imports of a trace.

    The interpreter writes a module after those that it imported, two spaces further in than itself.
    """
    found: list[Import] = []
    above: list[tuple[int, str]] = []
    # Backwards, so that an importer comes before what it imported.
    for line in reversed(trace.splitlines()):
        match = LINE.fullmatch(line)
        if match is None:
            continue
        depth = len(match["indent"])
        while above and above[-1][0] >= depth:
            above.pop()
        package = match["name"].partition(".")[0]
        standard = package in sys.stdlib_module_names
        owner = (above[-1][1] if above else "the interpreter") if standard else package
        above.append((depth, owner))
        found.append(Import(match["name"], int(match["own"]) / 1000, owner))
    return found


def costs(runs: Sequence[Sequence[Import]]) -> dict[str, Cost]:
    """Returns the medians over several runs by package, the dearest first."""
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in runs:
        for one in run:
            times[one.owner, one.name].append(one.milliseconds)
    medians = {key: statistics.median(values) for key, values in times.items()}
    found = {}
    for owner in dict.fromkeys(owner for owner, _ in medians):
        of_owner = {name: value for (which, name), value in medians.items() if which == owner}
        own = [name for name in of_owner if name.partition(".")[0] == owner]
        heaviest = sorted(of_owner.items(), key=lambda item: -item[1])
        total = sum(of_owner.values())
        own_total = sum(of_owner[name] for name in own)
        found[owner] = Cost(len(own), own_total, total - own_total, heaviest)
    return dict(sorted(found.items(), key=lambda item: -(item[1].own + item[1].standard)))


def trace_start(bundle: Path, pack: Path, cpu: int) -> str:
    """Returns the interpreter's trace of one start.

    Raises:
        subprocess.CalledProcessError: the start failed.
    """
    environment = {
        "PATH": os.defpath,
        "MODEL_DIR": str(bundle),
        "IMPORT_PACK": str(pack),
        "LOG_LEVEL": "ERROR",
    }
    command = [sys.executable, "-X", "importtime", "-c", "import lambda_app.handler"]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),
    ).stderr


def report(found: dict[str, Cost], bound: float, each: int) -> str:
    """Returns the table: packages that cost ``bound`` milliseconds or more, the rest in one row, the sum."""
    rows = [["package", "modules", "own (ms)", "standard library for it (ms)", "dearest modules (ms)"]]
    small = []
    for name, cost in found.items():
        if cost.own + cost.standard < bound:
            small.append(cost)
            continue
        dearest = ", ".join(f"{module} {value:.1f}" for module, value in cost.heaviest[:each])
        rows.append([name, str(cost.modules), f"{cost.own:.1f}", f"{cost.standard:.1f}", dearest])
    if small:
        own, standard = sum(cost.own for cost in small), sum(cost.standard for cost in small)
        modules = sum(cost.modules for cost in small)
        rows.append([f"{len(small)} others", str(modules), f"{own:.1f}", f"{standard:.1f}", ""])
    total = [sum(getattr(cost, name) for cost in found.values()) for name in ("modules", "own", "standard")]
    rows.append(["all", str(total[0]), f"{total[1]:.1f}", f"{total[2]:.1f}", ""])
    return table(rows)


def main(arguments: list[str] | None = None) -> int:
    """Traces starts and prints the table."""
    parser = argparse.ArgumentParser(description="What each import of a start costs.")
    parser.add_argument("--rounds", type=int, default=7, help="processes (default 7)")
    parser.add_argument("--bound", type=float, default=1.0, help="milliseconds of a row (default 1)")
    parser.add_argument("--each", type=int, default=4, help="modules named of each package (default 4)")
    options = parser.parse_args(arguments)
    artefacts.ensure([BUNDLE])
    cpu = min(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as directory:
        pack = write_pack(VARIANTS[0], Path(directory))
        # The first process fills caches, and is not counted.
        runs = [read(trace_start(cache() / BUNDLE, pack, cpu)) for _ in range(options.rounds + 1)][1:]
    print(report(costs(runs), options.bound, options.each))
    return 0


if __name__ == "__main__":
    sys.exit(main())
