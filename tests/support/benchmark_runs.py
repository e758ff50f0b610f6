"""Made-up results of benchmark runs."""

from collections.abc import Sequence

from benchmarks.report.results import Cache, Results, Sample, Size, WarmSample

SPANS = [("interpreter", 0.0, 70.0), ("imports", 80.0, 300.0), ("<new> & phase", 90.0, 120.0)]


def sample(contender: str, embed: float, *, cache: Cache = "warm", cpus: int = 2) -> Sample:
    ours = contender == "ours"
    return Sample(
        contender, cpus, cache, ready=embed * 0.9, embed=embed, rerank=embed * 1.2 if ours else None,
        cpu_seconds=embed, resident=280_000_000, anonymous=130_000_000, peak=300_000_000, storage_read=1,
        models_read=180_000_000 if cache == "cold" else None, code_read=1000 if cache == "cold" else None,
        residue=0 if cache == "cold" else None, spans=SPANS if ours else [],
    )  # fmt: skip


def run(samples: Sequence[Sample], warm: Sequence[WarmSample] = ()) -> Results:
    names = dict.fromkeys([one.contender for one in samples] + [one.contender for one in warm])
    facts = {
        "date": "2026-01-02", "processor": "a <fast> one", "cpus": 2, "memory_bytes": 8e9, "python": "3.13",
        "rounds": 5, "load_at_begin": 0.0,
    }  # fmt: skip
    sizes = {name: Size(code=100_000_000, models=400_000_000) for name in names}
    return Results(facts, {name: f"about {name}" for name in names}, sizes, list(samples), list(warm))


def whole_run() -> Results:
    seconds = {"ours": 0.5, "ours-pipeline": 0.3, "fastembed": 1.9, "pytorch-int8": 10.0, "floor": 0.25}
    caches: tuple[Cache, ...] = ("warm", "cold")
    samples = [
        sample(name, embed * factor, cache=cache)
        for name, embed in seconds.items()
        for cache in caches
        for factor in (0.9, 1.0, 3.0)
    ]
    warm = [
        WarmSample("ours", 0.02, 0.06, 1.5, 13.0, 13.0),
        WarmSample("ours-fp32", 0.05, 0.2, 4.0, 5.0, 5.0),
        WarmSample("fastembed", 0.02, 0.06, 1.7, 4.0, 10.0, 1),
    ]
    return run(samples, warm)
