"""Embeds one part of a job: reads its rows, writes their vectors, and says where to go on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any

from lambda_app.api.parsing import fields
from lambda_app.bulk import s3
from lambda_app.bulk.job import Job, check_model, read_job
from lambda_app.bulk.layout import ERRORS, PARTS, RECEIPTS, Part, Place, Receipt, part_of, receipt_of
from lambda_app.bulk.plan import part_of_object
from lambda_app.bulk.rows import is_divisible, read_part
from lambda_app.bulk.segment import Segment
from lambda_app.errors import DeadlineError, FieldError
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service

# Kept free for writing the last file, but never more than this share of the time that there is.
WRITING_SECONDS = 5.0
WRITING_SHARE = 0.25


def run(service: Service, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Embeds a part, or the whole object that is the ``source``.

    ``done`` says whether it is finished; if not, the same event with the returned ``continue`` goes on.

    Raises:
        RequestError: a field is wrong, or an object cannot be used.
        DeadlineError: not a single row could be embedded in the time that there is.
    """
    started = time.monotonic()
    job = read_job(event, ("part", "continue"))
    dimensions = check_model(service, job)
    part = _part(event, job)
    place = _place(event, part)
    if event.get("continue") is None and job.resume:
        place, finished = _resumed(service, job, part, place)
        if finished is not None:
            return _response(part, place, finished, done=True)
    _clear(job, part, place.segment)
    deadline = _deadline(invocation.deadline, started)
    return _embed(service, job, part, place, dimensions, invocation._replace(deadline=deadline))


def _embed(
    service: Service, job: Job, part: Part, place: Place, dimensions: int, invocation: Invocation
) -> dict[str, Any]:
    found = read_part(part, place.position, job, service.limits)
    origin = place.line if is_divisible(part.kind, packed=part.packed) else 0
    receipts: list[Receipt] = []
    done = late = False
    while not (done or late):
        segment = Segment(service, job, part, place, origin, dimensions, invocation)
        try:
            done = segment.fill(found)
        except DeadlineError:
            if not (segment.progressed or receipts):
                raise
        late = segment.late
        if segment.progressed or done:
            receipts.append(segment.write(done=done))
            place = segment.following
    return _response(part, place, receipts, done=done)


def _response(part: Part, place: Place, receipts: list[Receipt], *, done: bool) -> dict[str, Any]:
    return {
        "part": part.part,
        "done": done,
        "continue": None if done else place._asdict(),
        "files": sum(receipt.file is not None for receipt in receipts),
        "rows": sum(receipt.rows for receipt in receipts),
        "refused": sum(receipt.refused for receipt in receipts),
        "vectors": sum(receipt.vectors for receipt in receipts),
        "tokens": sum(receipt.tokens for receipt in receipts),
    }


def _part(event: Mapping[str, Any], job: Job) -> Part:
    if event.get("part") is not None:
        return part_of(event["part"])
    # The same object is always the same part, whatever else is written to the same output.
    number = hashlib.sha256(str(job.source).encode()).hexdigest()[:16]
    return part_of_object(s3.head(job.source), job, number)


def _place(event: Mapping[str, Any], part: Part) -> Place:
    divisible = is_divisible(part.kind, packed=part.packed)
    beginning = Place(0, part.start if divisible else 0, 0)
    if event.get("continue") is None:
        return beginning
    value = fields.json_object(event["continue"], "continue")
    fields.reject_unknown(value, Place._fields)
    segment = fields.optional_integer(value, "segment", minimum=0)
    position = fields.optional_integer(value, "position", minimum=beginning.position)
    line = fields.optional_integer(value, "line", minimum=0)
    if segment is None or position is None or line is None:
        raise FieldError("continue must be what the response before said", param="continue")
    return Place(segment, position, line)


def _resumed(service: Service, job: Job, part: Part, place: Place) -> tuple[Place, list[Receipt] | None]:
    """Returns where a part goes on that was begun before, and its receipts where it is finished.

    A file counts if it begins where the one before ends, was made of the same object by the same model for
    the same job, and is still what was written.
    """
    fingerprint = service.registry.embedder.model.fingerprint
    kept = []
    for stored in s3.list_objects(job.work.below(f"{RECEIPTS}{part.part}-")):
        receipt = receipt_of(s3.read(stored.place))
        if (
            receipt is None
            or (receipt.segment, receipt.begin) != (place.segment, place.position)
            or (receipt.object, receipt.etag) != (part.object, part.etag)
            or (receipt.job, receipt.fingerprint) != (job.digest, fingerprint)
            or (receipt.start, receipt.end) != (part.start, part.end)
            or not _is_whole(job, receipt)
        ):
            break
        kept.append(receipt)
        place = Place(receipt.segment + 1, receipt.stop, place.line + receipt.lines)
        if receipt.done:
            return place, kept
    return place, None


def _is_whole(job: Job, receipt: Receipt) -> bool:
    if receipt.file is None or receipt.sha256 is None:
        return True
    return s3.has_content(job.work.below(receipt.file), receipt.sha256)


def _clear(job: Job, part: Part, segment: int) -> None:
    """Deletes files of this part from number ``segment`` on: a child that was killed may have left some."""
    old = []
    for prefix in (RECEIPTS, PARTS, ERRORS):
        place = job.work.below(f"{prefix}{part.part}-")
        for stored in s3.list_objects(place):
            number = stored.place.key.removeprefix(place.key).partition(".")[0]
            if number.isdigit() and int(number) >= segment:
                old.append(stored.place)
    s3.delete(old)


def _deadline(deadline: float | None, started: float) -> float | None:
    if deadline is None:
        return None
    return deadline - min(WRITING_SECONDS, (deadline - started) * WRITING_SHARE)
