"""A run of the lazy image: its samples, their medians, its tables, JSON and back."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.report.stats import Summary, over
from builder.progress import table

CHUNK = 512 << 10


@dataclass(frozen=True, slots=True, order=True)
class Setting:
    """How chunks arrive: ``delay`` seconds after their first read, ``at_once`` of them at the same time."""

    delay: float
    at_once: int

    @property
    def label(self) -> str:
        """How tables name it."""
        return f"{self.delay * 1000:g} ms x {self.at_once}" if self.delay else "undelayed"


@dataclass(frozen=True, slots=True)
class Fetched:
    """What had been fetched of the image: chunks, bytes that the kernel read of them, chunks by group."""

    chunks: int
    bytes_read: int
    groups: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LazySample:
    """One start. ``rank`` and ``to_rank`` are None for a contender that does not rank."""

    contender: str
    setting: Setting
    embed: float
    rank: float | None
    to_embed: Fetched
    to_rank: Fetched | None


@dataclass(frozen=True, slots=True)
class LazyResults:
    """A whole run: ``facts`` of the machine, ``about`` each contender, ``image_chunks`` of each image."""

    facts: Mapping[str, Any]
    about: Mapping[str, str]
    image_chunks: Mapping[str, int]
    samples: Sequence[LazySample]

    def cell(self, contender: str, setting: Setting) -> list[LazySample]:
        """Returns the samples of a contender and setting."""
        return [one for one in self.samples if one.contender == contender and one.setting == setting]

    @property
    def contenders(self) -> list[str]:
        """Returns the contenders' names in the order in which they were measured."""
        return list(self.about)

    @property
    def settings(self) -> list[Setting]:
        """Returns the settings by chunks at once, then delay."""
        return sorted({one.setting for one in self.samples}, key=lambda one: (one.at_once, one.delay))

    def summary(
        self, contender: str, setting: Setting, figure: Callable[[LazySample], float | None]
    ) -> Summary | None:
        """Returns median and extremes of one figure."""
        return over(self.cell(contender, setting), figure)


def write(results: LazyResults, path: Path) -> None:
    """Writes a run as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(results), indent=1) + "\n", encoding="utf-8")


def read(path: Path) -> LazyResults:
    """Returns an earlier run.

    Raises:
        ValueError: the file does not hold one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        samples = [_sample(one) for one in content.pop("samples")]
        return LazyResults(samples=samples, **content)
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"{path} holds no run of the lazy image: {error!r}") from None


def _sample(content: dict[str, Any]) -> LazySample:
    content["setting"] = Setting(**content["setting"])
    content["to_embed"] = Fetched(**content["to_embed"])
    content["to_rank"] = Fetched(**content["to_rank"]) if content["to_rank"] else None
    return LazySample(**content)


def group_medians(samples: Sequence[LazySample]) -> dict[str, tuple[float, float | None]]:
    """Returns for each group the median chunks to the first embedding and to the first ranking."""
    names = dict.fromkeys(
        name for one in samples for at in (one.to_embed, one.to_rank) if at for name in at.groups
    )
    ranked = [one.to_rank for one in samples if one.to_rank]
    return {
        name: (
            statistics.median(one.to_embed.groups.get(name, 0) for one in samples),
            statistics.median(at.groups.get(name, 0) for at in ranked) if ranked else None,
        )
        for name in names
    }


def report(results: LazyResults) -> str:
    """Returns the tables as text."""
    rows = [
        ["contender", "chunks", "first embedding", "first ranking", "chunks to each", "MB fetched", "MB read"]
    ]
    rows += [
        [name, setting.label, *_figures(results, name, setting)]
        for setting in results.settings
        for name in results.contenders
        if results.cell(name, setting)
    ]
    return f"{table(rows)}\n\n{attribution(results)}"


def attribution(results: LazyResults) -> str:
    """Returns the table of what chunks were fetched for, to the first embedding and to the first ranking."""
    columns = {
        name: group_medians([one for one in results.samples if one.contender == name])
        for name in results.contenders
    }
    groups = dict.fromkeys(group for column in columns.values() for group in column)
    rows = [["chunks fetched for", *columns]]
    rows += [[group, *(_pair(column.get(group)) for column in columns.values())] for group in groups]
    rows.append(["of the image", *(str(results.image_chunks.get(name, 0)) for name in columns)])
    return table(rows)


def _pair(figures: tuple[float, float | None] | None) -> str:
    low, high = figures or (0, None)
    return _count(low) if high is None else f"{_count(low)} / {_count(high)}"


def _figures(results: LazyResults, name: str, setting: Setting) -> list[str]:
    def pair(embed: Callable[[Fetched], float]) -> str:
        first = results.summary(name, setting, lambda one: embed(one.to_embed))
        second = results.summary(name, setting, lambda one: embed(one.to_rank) if one.to_rank else None)
        return " / ".join(_count(one.median) if one else "-" for one in (first, second))

    return [
        seconds(results.summary(name, setting, lambda one: one.embed)),
        seconds(results.summary(name, setting, lambda one: one.rank)),
        pair(lambda at: at.chunks),
        pair(lambda at: at.chunks * CHUNK / 1e6),
        pair(lambda at: at.bytes_read / 1e6),
    ]


def seconds(summary: Summary | None) -> str:
    """Returns a median with its extremes."""
    return f"{summary.median:.2f} s ({summary.low:.2f}-{summary.high:.2f})" if summary else "-"


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
