"""Finishes a job: proves that each row was dealt with once, and writes what came of it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from lambda_app.bulk import doubles, s3
from lambda_app.bulk.aws import CONNECTIONS
from lambda_app.bulk.job import POSITION, Job, read_job
from lambda_app.bulk.layout import (
    DOUBLES,
    FAILED,
    MANIFEST,
    PARTS,
    PLAN,
    RECEIPTS,
    Part,
    Receipt,
    jsonl,
    part_of,
    receipt_of,
    records_of,
)
from lambda_app.bulk.manifest import DEFAULT_MEMORY_MB, manifest
from lambda_app.bulk.rows import is_divisible
from lambda_app.errors import JobFailedError
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service

NAMED = 10
# Receipts that are read at the same time, and held until they are looked at.
READ_AHEAD = 256
# Kept free of the time for writing the manifest, where rows are read again to name doubles.
WRITING_SECONDS = 10.0


def run(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Writes ``manifest.json``, or ``manifest.failed.json`` with what is wrong; returns its summary.

    Raises:
        JobFailedError: a row is missing or double, or more rows were refused than are tolerated.
        RequestError: a field is wrong, or there is no plan.
    """
    job = read_job(event)
    s3.delete([job.work.below(name) for name in (MANIFEST, FAILED, DOUBLES)])
    plan = [part_of(record) for record in records_of(s3.read(job.work.below(PLAN)))]
    stored = list(s3.list_objects(job.work.below(RECEIPTS)))
    memory = service.registry.settings.memory_mb or DEFAULT_MEMORY_MB
    shares = doubles.shares_of(sum(entry.size for entry in stored), memory)
    ids = doubles.Share(0, shares)
    receipts: dict[str, list[Receipt]] = defaultdict(list)
    for receipt in _read(stored):
        ids.add(receipt.ids)
        receipts[receipt.part].append(receipt._replace(ids=""))
    for some in receipts.values():
        some.sort(key=lambda receipt: receipt.segment)
    failure = _failure(job, plan, receipts)
    if failure is None:
        found = doubles.find(ids, shares, partial(_read, stored))
        failure = _doubled(service, job, plan, receipts, found, stored, invocation) if found.rows else None
    _number_lines(job, plan, receipts)
    made = manifest(service, job, plan, receipts)
    if failure is not None:
        made["failure"] = {"code": failure.code, "message": failure.message}
    place = job.work.below(MANIFEST if failure is None else FAILED)
    s3.write(place, json.dumps(made, indent=1).encode())
    if failure is not None:
        raise failure
    summary = {name: value for name, value in made.items() if name not in {"parts", "errors", "job"}}
    return {"manifest": {"bucket": place.bucket, "key": place.key}, "parts": len(plan), **summary}


def _read(stored: Sequence[s3.StoredObject]) -> Iterator[Receipt]:
    """Yields receipts, those of other versions left out, a few of which are held at a time."""
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for start in range(0, len(stored), READ_AHEAD):
            places = [entry.place for entry in stored[start : start + READ_AHEAD]]
            for content in pool.map(s3.read, places):
                receipt = receipt_of(content)
                if receipt is not None:
                    yield receipt


def _doubled(
    service: Service,
    job: Job,
    plan: Sequence[Part],
    receipts: Mapping[str, list[Receipt]],
    found: doubles.Doubles,
    stored: Sequence[s3.StoredObject],
    invocation: Invocation,
) -> JobFailedError:
    """Writes where the rows of doubled ids are; returns the error."""
    deadline = invocation.deadline
    entries = doubles.places(
        job,
        service.limits,
        found,
        _read(stored),
        {part.part: part for part in plan},
        {part.part: before for part, before in _lines_before(plan, receipts)},
        None if deadline is None else deadline - WRITING_SECONDS,
    )
    s3.write(job.work.below(DOUBLES), jsonl(entries), "application/x-ndjson")
    return JobFailedError(
        f"{found.rows} rows have the id of another row ({DOUBLES} names the first): make ids unique, or set "
        f"id_field to {POSITION}",
        code="rows_double",
    )


def _failure(job: Job, plan: Sequence[Part], receipts: Mapping[str, list[Receipt]]) -> JobFailedError | None:
    """Returns what is wrong with the job as a whole, if anything is."""
    missing = [part.part for part in plan if not _is_whole(part, receipts.get(part.part, ()))]
    all_receipts = [receipt for some in receipts.values() for receipt in some]
    if missing:
        return JobFailedError(
            f"{len(missing)} of {len(plan)} parts are not finished ({_first(missing)}): run the job again "
            "with resume",
            code="rows_missing",
        )
    stored = {
        entry.place.key.removeprefix(job.work.below("").key): entry.size
        for entry in s3.list_objects(job.work.below(PARTS))
    }
    files = {receipt.file: receipt.size for receipt in all_receipts if receipt.file is not None}
    if gone := [file for file, size in files.items() if stored.get(file) != size]:
        return JobFailedError(
            f"{len(gone)} files are gone or were changed ({_first(gone)}): run the job again with resume",
            code="rows_missing",
        )
    strange = sorted((stored.keys() - files.keys()) | (receipts.keys() - {part.part for part in plan}))
    if strange:
        return JobFailedError(
            f"{len(strange)} files or parts are not of this job ({_first(strange)}), so that rows would be "
            "double: delete them, or take another output",
            code="rows_double",
        )
    if len({(receipt.job, receipt.fingerprint) for receipt in all_receipts}) > 1:
        return JobFailedError(
            "parts were made by different models or with different fields: run the job again with resume",
            code="models_differ",
        )
    rows = sum(receipt.rows for receipt in all_receipts)
    refused = sum(receipt.refused for receipt in all_receipts)
    if refused * 100 > job.tolerated_failure_percentage * rows:
        return JobFailedError(
            f"{refused} of {rows} rows were refused, and {job.tolerated_failure_percentage:g}% are tolerated:"
            " see errors/, mend the rows, or raise tolerated_failure_percentage",
            code="too_many_refused",
        )
    return None


def _is_whole(part: Part, receipts: Sequence[Receipt]) -> bool:
    """Whether the files of a part follow each other from its beginning to its end, each once."""
    divisible = is_divisible(part.kind, packed=part.packed)
    position = part.start if divisible else 0
    for number, receipt in enumerate(receipts):
        same = (receipt.object, receipt.etag, receipt.start, receipt.end) == (
            *(part.object, part.etag, part.start, part.end),
        )
        if not same or (receipt.segment, receipt.begin) != (number, position):
            return False
        if receipt.rows != receipt.served + receipt.refused:
            return False
        position = receipt.stop
    whole = bool(receipts) and receipts[-1].done and not any(receipt.done for receipt in receipts[:-1])
    return whole and (not divisible or position == part.end)


def _number_lines(job: Job, plan: Sequence[Part], receipts: Mapping[str, list[Receipt]]) -> None:
    """Makes the lines in the errors of a range those of its object, now that the lines before are known."""
    for part, before in _lines_before(plan, receipts):
        for receipt in receipts.get(part.part, ()):
            if receipt.errors is None or not before:
                continue
            place = job.work.below(receipt.errors)
            entries = records_of(s3.read(place))
            # Once only, also where a job is finished again.
            if all("line_in_part" not in entry for entry in entries):
                counted = [
                    {**entry, "line": entry["line"] + before, "line_in_part": entry["line"]}
                    for entry in entries
                ]
                s3.write(place, jsonl(counted), "application/x-ndjson")


def _lines_before(plan: Sequence[Part], receipts: Mapping[str, list[Receipt]]) -> Iterator[tuple[Part, int]]:
    """Yields the parts that begin within an object, with the lines before them, where those are known."""
    known: int | None = 0
    for part in plan:
        if not part.start:
            known = 0
        elif known:
            yield part, known
        some = receipts.get(part.part, [])
        lines = sum(receipt.lines for receipt in some) if _is_whole(part, some) else None
        known = None if known is None or lines is None else known + lines


def _first(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
