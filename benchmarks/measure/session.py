"""A whole run: everything made that it needs, then contender after contender, round after round."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.harness import artefacts, environments, images, pagecache
from benchmarks.harness.contender import IMAGE_NAME, Contender, lay_out
from benchmarks.harness.progress import Progress
from benchmarks.measure import warm
from benchmarks.measure.machine import machine_facts
from benchmarks.measure.run import RunError, cold_start
from benchmarks.measure.warm import Amount
from benchmarks.report.results import Cache, Results, Sample, Size, WarmSample


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. ``warm_rounds`` of 0 leaves the warm figures out."""

    contenders: Sequence[Contender]
    warm_contenders: Sequence[Contender]
    cpus: Sequence[int]
    caches: Sequence[Cache]
    rounds: int
    warm_rounds: int
    amount: Amount


def measure(plan: Plan) -> Results:
    """Runs a plan.

    Raises:
        RunError: a contender did not start or respond.
        SetupError: an environment could not be made.
        ImageError: the function's image could not be built.
        subprocess.CalledProcessError: a model could not be made.
    """
    contenders = _unique([*plan.contenders, *plan.warm_contenders])
    _provide(contenders)
    facts = _facts(plan)
    steps = len(plan.contenders) * len(plan.cpus) * len(plan.caches) * plan.rounds
    progress = Progress(steps + len(plan.warm_contenders) * plan.warm_rounds)
    samples: list[Sample] = []
    if "cold" not in plan.caches:
        _fill_page_cache(plan)
    # Rounds outermost: what else the machine does meanwhile, it does to all. Cold before warm: a warm
    # page cache is one that a start of the same contender has filled, without what no start reads.
    for number, cpus, contender, cache in product(
        range(plan.rounds), plan.cpus, plan.contenders, sorted(plan.caches)
    ):
        progress.begin(f"{contender.name}, {cpus} CPU, {cache} page cache, round {number + 1}")
        samples.append(cold_start(contender, cpus, cache))
        progress.advance()
    warmed = _warm(plan, progress)
    progress.end()
    return Results(
        facts=facts | {"seconds": round(time.time() - facts["began"]), "load_at_end": os.getloadavg()[0]},
        about={one.name: one.about for one in contenders},
        sizes={one.name: _size(one) for one in contenders if one.source != "none"},
        samples=samples,
        warm=warmed,
    )


def _fill_page_cache(plan: Plan) -> None:
    for contender in plan.contenders:
        pagecache.evict(pagecache.files_below(contender.image_paths()))
    for contender in plan.contenders:
        cold_start(contender, max(plan.cpus), "warm")


def _warm(plan: Plan, progress: Progress) -> list[WarmSample]:
    found: list[WarmSample] = []
    best: dict[str, tuple[int | None, ...]] = {}
    for number, contender in product(range(plan.warm_rounds), plan.warm_contenders):
        progress.begin(f"{contender.name}, warm, round {number + 1}")
        # Which batch size is best does not change between rounds, and trying them all takes long.
        sizes = best.get(contender.name, contender.batch_sizes)
        found.append(warm.measure(contender, max(plan.cpus), plan.amount, sizes))
        best.setdefault(contender.name, tuple(dict.fromkeys((None, found[-1].best_batch))))
        progress.advance()
    return found


def _provide(contenders: Sequence[Contender]) -> None:
    outside = [one for one in contenders if not one.contained]
    for name in dict.fromkeys(one.environment for one in outside):
        environments.ensure(name)
    artefacts.ensure(list(dict.fromkeys(name for one in contenders for name in one.artefacts)))
    if len(outside) < len(contenders):
        images.ensure(IMAGE_NAME)
    done: set[Path] = set()
    for one in outside:
        if one.task not in done or one.source == "none":
            lay_out(one)
            done.add(one.task)


def _unique(contenders: Sequence[Contender]) -> list[Contender]:
    return list({one.name: one for one in contenders}.values())


def _size(contender: Contender) -> Size:
    models = pagecache.total_bytes(pagecache.files_below(contender.model_paths))
    return Size(pagecache.total_bytes(pagecache.files_below(contender.image_paths())) - models, models)


def _facts(plan: Plan) -> dict[str, Any]:
    present = len(os.sched_getaffinity(0))
    if max(plan.cpus) > present:
        raise RunError(f"{max(plan.cpus)} CPUs were asked for, there are {present}: see --cpus")
    return machine_facts() | {"rounds": plan.rounds, "warm_rounds": plan.warm_rounds}
