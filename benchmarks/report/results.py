"""What a run measured: plain records that go to JSON and come back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

Cache = Literal["warm", "cold"]
CACHES: tuple[Cache, ...] = ("warm", "cold")
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One cold start.

    Seconds count from the start of the process, sizes are bytes; None where a contender has no such thing.
    ``models_read`` and ``code_read`` are the bytes of its files that came into an emptied page cache;
    ``residue`` is what could not be evicted before. ``spans`` are (phase, start, end) in milliseconds.
    """

    contender: str
    cpus: int
    cache: Cache
    ready: float | None
    embed: float
    rerank: float | None
    cpu_seconds: float
    resident: int
    anonymous: int
    peak: int
    storage_read: int
    models_read: int | None = None
    code_read: int | None = None
    residue: int | None = None
    spans: list[tuple[str, float, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class WarmSample:
    """One warm contender in one round, seconds per request; throughput in texts per second.

    ``best_batch`` is the batch size of ``best_texts_per_second``, None for its own default.
    """

    contender: str
    embed_16: float
    embed_128: float
    rerank_25: float | None
    texts_per_second: float
    best_texts_per_second: float
    best_batch: int | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes that a contender's image adds to its base."""

    code: int
    models: int


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run. ``facts`` describe the machine and the versions."""

    facts: Mapping[str, Any]
    about: Mapping[str, str]
    sizes: Mapping[str, Size]
    samples: list[Sample]
    warm: list[WarmSample]

    def cell(self, contender: str, cpus: int, cache: Cache) -> list[Sample]:
        """Returns the samples of one contender under one condition."""
        return [
            one for one in self.samples if (one.contender, one.cpus, one.cache) == (contender, cpus, cache)
        ]

    @property
    def contenders(self) -> list[str]:
        """Names in the order of the run."""
        return list(self.about)

    def conditions(self) -> list[tuple[int, Cache]]:
        """Returns (CPUs, page cache) of the run, most CPUs and warm first."""
        found = {(one.cpus, one.cache) for one in self.samples}
        return sorted(found, key=lambda condition: (-condition[0], CACHES.index(condition[1])))


def write(results: Results, path: Path) -> None:
    """Writes a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schema": SCHEMA, **asdict(results)}, indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> Results:
    """Reads a run from its JSON.

    Raises:
        ValueError: the file does not hold one.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise ValueError(f"{path} holds no benchmark results of schema {SCHEMA}")
    return Results(
        facts=content["facts"],
        about=content["about"],
        sizes={name: Size(**size) for name, size in content["sizes"].items()},
        samples=[_sample(entry) for entry in content["samples"]],
        warm=[WarmSample(**entry) for entry in content["warm"]],
    )


def _sample(entry: dict[str, Any]) -> Sample:
    spans = [(name, start, end) for name, start, end in entry.pop("spans")]
    unknown = set(entry) - {each.name for each in fields(Sample)}
    if unknown:
        raise ValueError(f"unknown fields of a sample: {', '.join(sorted(unknown))}")
    return Sample(**entry, spans=spans)
