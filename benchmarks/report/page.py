"""A run as one HTML page that needs nothing beside itself: no network, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from benchmarks.report.charts import Row, Segment, chart, stacked
from benchmarks.report.page_style import CSS
from benchmarks.report.results import Cache, Results, Sample
from benchmarks.report.stats import over
from benchmarks.report.targets import MEGABYTE, compute_targets
from benchmarks.report.terminal import condition, notes, report

# Phases of our init by CSS class; other phases are drawn in the last one's colour.
PHASES = {
    "interpreter": "p1", "bundle": "p2", "imports": "p3", "sessions": "p4", "tokenizers": "p5", "app": "p6",
    "first inference": "p7",
}  # fmt: skip
INIT, EMBED, RERANK = ("init", "until ready"), ("embed", "first embedding"), ("rerank", "first ranking")


def render(results: Results) -> str:
    """Returns the page."""
    sections = [_head(results), _targets(results), *_cold(results), _warm(results), _tables(results)]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Cold start benchmark</title><style>{CSS}</style></head>\n<body><main>"
        + "\n".join(filter(None, sections))
        + "</main></body></html>\n"
    )


def _head(results: Results) -> str:
    facts = results.facts
    line = (
        f"{facts['date']}, {facts['processor']}, {facts['cpus']} CPUs, {facts['memory_bytes'] / 1e9:.0f} GB, "
        f"Python {facts['python']}. Medians of {facts['rounds']} interleaved rounds; whiskers are the "
        "fastest and the slowest."
    )
    warnings = "".join(f'<p class="warning">{escape(note)}</p>' for note in notes(results))
    return (
        "<header><h1>From process start to the first answer</h1><p>e5-base-v2 and bge-reranker-base, full "
        "size, as a Lambda function under the Runtime Interface Emulator and awslambdaric.</p>"
        f"<p>{escape(line)}</p>{warnings}</header>"
    )


def _targets(results: Results) -> str:
    rows = "".join(
        f'<tr class="{target.verdict.split()[0]}"><th scope="row">{escape(target.figure)}</th>'
        f"<td>{escape(target.found)}</td><td>{escape(target.wanted)}</td><td>{target.verdict}</td></tr>"
        for target in compute_targets(results)
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Figure", "Found", "Target", "Verdict"))
    return (
        "<section><h2>Targets</h2><div class=scroll><table class=targets><thead><tr>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )


def _cold(results: Results) -> list[str]:
    conditions = results.conditions()
    if not conditions:
        return []
    cpus, cache = conditions[0]
    parts = [_waterfall(results, cpus, cache), _close_up(results, cpus, cache)]
    parts += [_times(results, *other) for other in conditions[1:]]
    parts.append(_memory(results, cpus, cache))
    if "cold" in {cache for _, cache in conditions}:
        parts.append(_bytes(results, cpus))
    return parts


def _waterfall(results: Results, cpus: int, cache: Cache) -> str:
    return _figure(
        f"Cold start, {condition(cpus, cache)}",
        chart("Seconds from process start to the first ranking", _time_rows(results, cpus, cache), "s"),
        [INIT, EMBED, RERANK],
        "All on one scale. The pipeline function and the floor only embed; the floor is a plain process "
        "without emulator, runtime client, web layer or tokenizer.",
    )


def _times(results: Results, cpus: int, cache: Cache) -> str:
    rows = _time_rows(results, cpus, cache)
    return _figure(
        condition(cpus, cache), chart("Seconds to the first ranking", rows, "s"), [INIT, EMBED, RERANK]
    )


def _time_rows(results: Results, cpus: int, cache: Cache) -> list[Row]:
    rows = []
    for name in results.contenders:
        samples = results.cell(name, cpus, cache)
        embed = over(samples, lambda one: one.embed)
        if embed is None:
            continue
        ready, rerank = over(samples, lambda one: one.ready), over(samples, lambda one: one.rerank)
        begin = ready.median if ready else 0.0
        parts = [(*INIT, begin), (*EMBED, embed.median - begin)]
        last = embed
        if rerank is not None:
            parts.append((*RERANK, rerank.median - embed.median))
            last = rerank
        row = stacked(name, parts, _answer_note(embed.median, last.median), strong=name.startswith("ours"))
        rows.append(Row(row.label, row.segments, row.note, row.strong, (last.low, last.high)))
    return rows


def _answer_note(embed: float, last: float) -> str:
    return f"{embed:.2f} s" if last == embed else f"{embed:.2f} s, both {last:.2f} s"


def _close_up(results: Results, cpus: int, cache: Cache) -> str:
    """Our own phases, of the sample nearest to the median, a lane for each."""
    rows: list[Row] = []
    for name in ("ours", "ours-pipeline"):
        samples = [one for one in results.cell(name, cpus, cache) if one.spans]
        if samples:
            typical = sorted(samples, key=lambda one: one.embed)[len(samples) // 2]
            rows += _lanes(name, typical)
    floor = over(results.cell("floor", cpus, cache), lambda one: one.embed)
    if not rows:
        return ""
    if floor is not None:
        end = floor.median * 1000
        rows.append(stacked("floor", [("floor", "one inference done", end)], f"{end:.0f} ms", strong=True))
    return _figure(
        f"Where ours goes, {condition(cpus, cache)}",
        chart("Milliseconds from process start of each phase of init, one typical round", rows, "ms"),
        (),
        "One typical round, phase by phase as the function reports them. Lanes that overlap ran at the "
        "same time.",
    )


def _lanes(name: str, sample: Sample) -> list[Row]:
    phases: dict[str, list[Segment]] = {}
    for phase, start, end in sample.spans:
        title = f"{phase}: {start:.0f} to {end:.0f} ms"
        phases.setdefault(phase, []).append(Segment(start, end, PHASES.get(phase, "p7"), title))
    whole = [("init", "until ready", (sample.ready or 0.0) * 1000)]
    whole.append(("embed", "first embedding", (sample.embed - (sample.ready or 0.0)) * 1000))
    if sample.rerank is not None:
        whole.append(("rerank", "first ranking", (sample.rerank - sample.embed) * 1000))
    head = stacked(name, whole, f"{(sample.rerank or sample.embed) * 1000:.0f} ms", strong=True)
    lanes = [
        Row(phase, segments, f"{sum(one.end - one.start for one in segments):.0f} ms")
        for phase, segments in phases.items()
    ]
    return [head, *lanes]


def _memory(results: Results, cpus: int, cache: Cache) -> str:
    def row(name: str, samples: Sequence[Sample]) -> Row | None:
        resident = over(samples, lambda one: one.resident)
        anonymous = over(samples, lambda one: one.anonymous)
        if resident is None or anonymous is None:
            return None
        own, whole = anonymous.median / MEGABYTE, resident.median / MEGABYTE
        parts = [("anonymous", "anonymous", own), ("mapped", "file pages", whole - own)]
        return stacked(name, parts, f"{whole:.0f} MB, {own:.0f} own", strong=name.startswith("ours"))

    rows = [row(name, results.cell(name, cpus, cache)) for name in results.contenders]
    return _figure(
        "Resident memory after the first answers",
        chart("Megabytes resident after the first embedding and ranking", [one for one in rows if one], "MB"),
        [("anonymous", "the process' own"), ("mapped", "pages of files, shared with the page cache")],
    )


def _bytes(results: Results, cpus: int) -> str:
    rows = []
    for name in results.contenders:
        samples = results.cell(name, cpus, "cold")
        models, code = over(samples, lambda one: one.models_read), over(samples, lambda one: one.code_read)
        if models is None or code is None:
            continue
        read = [code.median / MEGABYTE, models.median / MEGABYTE]
        size = results.sizes.get(name)
        of = f" of {(size.code + size.models) / MEGABYTE:.0f}" if size else ""
        parts = [("code", "packages and code", read[0]), ("models", "models", read[1])]
        rows.append(stacked(name, parts, f"{sum(read):.0f}{of} MB", strong=name.startswith("ours")))
    return _figure(
        "Bytes read from a cold page cache, of the bytes that the image adds",
        chart("Megabytes that came into an emptied page cache", rows, "MB"),
        [("code", "packages and code"), ("models", "models")],
        "Pages of the contender's own files that were resident after the first answers (mincore).",
    )


def _warm(results: Results) -> str:
    rows = []
    for name in results.contenders:
        samples = [one for one in results.warm if one.contender == name]
        usual, best = (
            over(samples, lambda one: one.texts_per_second),
            over(samples, lambda one: one.best_texts_per_second),
        )
        if usual is None or best is None:
            continue
        parts = [("embed", "its own batch size", usual.median)]
        note = f"{usual.median:.1f}"
        if best.median > usual.median:
            parts.append(("mapped", "gained by its best batch size", best.median - usual.median))
            note += f", at its best {best.median:.1f}"
        rows.append(stacked(name, parts, note, strong=name.startswith("ours")))
    if not rows:
        return ""
    return _figure(
        "Throughput once warm, texts of mixed lengths",
        chart("Texts per second, embedding texts of 6 to 512 tokens", rows, ""),
        [("embed", "texts per second with its own batch size"), ("mapped", "more with its best one")],
        "Queries, passages and documents of 6 to 512 tokens in one request.",
    )


def _tables(results: Results) -> str:
    about = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in results.about.items())
    return (
        f"<section><h2>Contenders</h2><dl>{about}</dl></section>"
        f"<section><details><summary>All figures as tables</summary><pre>{escape(report(results))}</pre>"
        "</details></section>"
    )


def _figure(title: str, svg: str, legend: Sequence[tuple[str, str]], note: str = "") -> str:
    keys = "".join(f'<li><i class="{kind}"></i>{escape(name)}</li>' for kind, name in legend)
    return (
        f"<section><h2>{escape(title)}</h2>"
        + (f"<ul class=legend>{keys}</ul>" if keys else "")
        + f"<div class=scroll>{svg}</div>"
        + (f"<p class=note>{escape(note)}</p>" if note else "")
        + "</section>"
    )
