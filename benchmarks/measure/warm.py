"""How fast a contender responds once it is warm: latency of usual requests, throughput on mixed lengths."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.harness.contender import Contender
from benchmarks.measure import workload
from benchmarks.measure.run import Function
from benchmarks.measure.workload import Event
from benchmarks.report.results import WarmSample


@dataclass(frozen=True, slots=True)
class Amount:
    """Requests of each kind in one round, and texts of one throughput request."""

    embed_16: int = 20
    embed_128: int = 10
    rerank_25: int = 3
    texts: int = 40


QUICK = Amount(embed_16=8, embed_128=4, rerank_25=0, texts=20)


def measure(
    contender: Contender, cpus: int, amount: Amount, batch_sizes: tuple[int | None, ...]
) -> WarmSample:
    """Measures one round of one contender in a process of its own.

    ``batch_sizes`` are those to try, None for its own.

    Requests go through the emulator, whose millisecond is the same for all.

    Raises:
        RunError: it did not respond.
    """
    short, long = (workload.embed_event([workload.of_tokens(tokens)]) for tokens in (16, 128))
    rank = workload.rerank_event(workload.text_of_seed(20, 11), workload.rerank_documents())
    corpus = workload.mixed_texts(amount.texts)
    with Function(contender, cpus) as function:
        # What comes first pays for allocations that later requests find made.
        function.invoke(short)
        function.invoke(long)
        embed_16 = _typical(function, short, amount.embed_16)
        embed_128 = _typical(function, long, amount.embed_128)
        ranked = None
        if contender.reranks and amount.rerank_25:
            function.invoke(rank)
            ranked = _typical(function, rank, amount.rerank_25)
        speeds = {
            size: len(corpus) / function.timed(workload.embed_event(corpus, batch_size=size))
            for size in batch_sizes
        }
    best = max(speeds, key=lambda size: speeds[size])
    return WarmSample(contender.name, embed_16, embed_128, ranked, speeds[None], speeds[best], best)


def _typical(function: Function, event: Event, times: int) -> float:
    return statistics.median(function.timed(event) for _ in range(times))
