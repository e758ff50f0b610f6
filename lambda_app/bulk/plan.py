"""Plans a job: lists the objects, cuts them into parts, and clears what an earlier job left."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice, pairwise
from typing import Any

from lambda_app.bulk import s3
from lambda_app.bulk.aws import Location
from lambda_app.bulk.job import Job, check_model, read_job
from lambda_app.bulk.layout import (
    DOUBLES,
    ERRORS,
    FAILED,
    FILE,
    MANIFEST,
    PARTS,
    PLAN,
    RECEIPTS,
    RUNS,
    Part,
    is_of_a_job,
    jsonl,
)
from lambda_app.bulk.rows import is_divisible, kind_of
from lambda_app.errors import LimitError, StorageRefusedError
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service

NAMED = 10
# Of one job, whose plan is held in memory.
MAX_PARTS = 500_000
# The receipts of a job, which stand beside all else that it writes.
RECEIPT = re.compile(rf"(.*){re.escape(RECEIPTS)}[0-9a-z]+-[0-9]{{4,}}\.json", re.DOTALL)


def run(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Writes ``plan.jsonl``; returns where it is, and how much there is to do.

    Raises:
        RequestError: a field is wrong, there is nothing to embed, or a bucket cannot be used.
    """
    job = read_job(event)
    check_model(service, job)
    used, skipped = objects_of(job)
    if not used:
        raise StorageRefusedError(
            f"there is nothing to embed at {job.source}: objects are .jsonl, .csv, .tsv or .parquet, or have "
            "input_format say what they are",
            code="object_not_found",
        )
    found_parts = (part for stored in used for part in parts_of(stored, job))
    parts = [
        part._replace(part=f"{number:06d}") for number, part in enumerate(islice(found_parts, MAX_PARTS + 1))
    ]
    if len(parts) > MAX_PARTS:
        raise LimitError(
            f"the job has more than {MAX_PARTS} parts: raise part_bytes, or split the source",
            param="part_bytes",
        )
    _clear(job, {part.part for part in parts} if job.resume else set())
    plan = job.work.below(PLAN)
    s3.write(plan, jsonl(part._asdict() for part in parts), "application/x-ndjson")
    return {
        "plan": {"bucket": plan.bucket, "key": plan.key},
        # What Step Functions writes of its own.
        "runs": {"bucket": plan.bucket, "prefix": job.work.below(RUNS).key},
        "parts": len(parts),
        "objects": len(used),
        "empty_objects": sum(not stored.size for stored in used),
        "bytes": sum(stored.size for stored in used),
        "skipped": {"objects": len(skipped), "first": skipped[:NAMED]},
    }


def objects_of(job: Job) -> tuple[list[s3.StoredObject], list[str]]:
    """Returns the objects that a job reads, and those that have none of its formats."""
    used: list[s3.StoredObject] = []
    skipped: list[str] = []
    below = _below(job.source)
    outputs = _outputs(job, below)
    for stored in below:
        if stored.place.key.endswith("/") or _is_output(stored.place.key, outputs):
            continue
        if kind_of(stored.place.key, job.input_format)[0] is None:
            skipped.append(str(stored.place))
        else:
            used.append(stored)
    return used, skipped


def part_of_object(stored: s3.StoredObject, job: Job, number: str) -> Part:
    """Returns a part that is a whole object.

    Raises:
        StorageRefusedError: nothing says which format it has.
    """
    kind, packed = kind_of(stored.place.key, job.input_format)
    if kind is None:
        raise StorageRefusedError(
            f"{stored.place} is none of .jsonl, .csv, .tsv or .parquet: say what it is with input_format",
            code="object_unreadable",
        )
    return Part(number, str(stored.place), kind, packed, 0, stored.size, stored.size, stored.etag)


def parts_of(stored: s3.StoredObject, job: Job) -> list[Part]:
    """Returns the parts of an object, without numbers; an empty one has none.

    Raises:
        StorageRefusedError: nothing says which format it has.
    """
    if not stored.size:
        return []
    whole = part_of_object(stored, job, "")
    cuts = -(-stored.size // job.part_bytes) if is_divisible(whole.kind, packed=whole.packed) else 1
    places = [stored.size * cut // cuts for cut in range(cuts + 1)]
    return [whole._replace(start=start, end=end) for start, end in pairwise(places)]


def _below(source: Location) -> list[s3.StoredObject]:
    """Returns the object that the source names, or all objects in it as in a directory."""
    found = list(s3.list_objects(source))
    named = [stored for stored in found if stored.place.key == source.key and source.key]
    directory = source.below("").key
    return named or [stored for stored in found if stored.place.key.startswith(directory)]


def _outputs(job: Job, found: Sequence[s3.StoredObject]) -> tuple[str, ...]:
    """Returns where jobs have written below the source: this one, and others."""
    roots = {match[1] for stored in found if (match := RECEIPT.fullmatch(stored.place.key))}
    if job.work.bucket == job.source.bucket:
        roots.add(job.work.below("").key)
    return tuple(roots)


def _is_output(key: str, roots: tuple[str, ...]) -> bool:
    return any(key.startswith(root) and is_of_a_job(key.removeprefix(root)) for root in roots)


def _clear(job: Job, kept: set[str]) -> None:
    """Deletes what an earlier job left, but for what belongs to the parts that are to be taken up."""
    old = [job.work.below(name) for name in (MANIFEST, FAILED, DOUBLES)]
    for prefix in (PARTS, ERRORS, RECEIPTS):
        place = job.work.below(prefix)
        for stored in s3.list_objects(place):
            part = stored.place.key.removeprefix(place.key).partition("-")[0]
            if part not in kept and FILE.fullmatch(stored.place.key.removeprefix(job.work.below("").key)):
                old.append(stored.place)
    s3.delete(old)
