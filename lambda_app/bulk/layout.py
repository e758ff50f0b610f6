"""Names of what a job leaves in S3, and the records in it.

Below ``work``: ``plan.jsonl``, ``parts/part-000000-0000.jsonl.gz``, ``errors/errors-000000-0000.jsonl``,
``receipts/part-000000-0000.json`` (what one file is made of; written last), and ``manifest.json``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lambda_app.bulk.aws import Location, location
from lambda_app.bulk.job import Kind
from lambda_app.errors import FieldError

PLAN = "plan.jsonl"
MANIFEST = "manifest.json"
FAILED = "manifest.failed.json"
DOUBLES = "doubles.jsonl"
RUNS = "runs"
PARTS, ERRORS, RECEIPTS = "parts/part-", "errors/errors-", "receipts/part-"
# The names of a job's files below ``work``; whatever else is there is not a job's, and is left alone.
FILE = re.compile(
    r"(?:parts/part|errors/errors|receipts/part)-[0-9a-z]+-[0-9]{4,}\.(?:jsonl|jsonl\.gz|parquet|json)"
)
# With as many vectors a file ends and the next one begins.
MAX_FILE_VECTORS = 8_192


class Part(NamedTuple):
    """One line of the plan: an object, or bytes ``start`` up to ``end`` of it."""

    part: str
    object: str
    kind: Kind
    packed: bool
    start: int
    end: int
    size: int
    etag: str

    @property
    def place(self) -> Location:
        """Where the object is."""
        return location(self.object, "object")


class Place(NamedTuple):
    """Where a part goes on: the next file, the next byte or row, and the lines of the part before it.

    In the errors of a range, ``line`` counts from its beginning until the job is finished.
    """

    segment: int
    position: int
    line: int


class Receipt(NamedTuple):
    """What one file of a part was made of, and what came of it.

    ``start`` and ``end`` are the part's in the plan. ``begin`` and ``stop`` are bytes, or rows of an object
    that is not divided; ``lines`` is how many lines were read. ``stop`` of the last file of a part, which is
    ``done``, is the end of the part. ``ids`` has a hash of the id of each row that was served.
    """

    part: str
    segment: int
    object: str
    etag: str
    job: str
    fingerprint: str
    model: str
    dimensions: int
    start: int
    end: int
    begin: int
    stop: int
    done: bool
    lines: int
    rows: int
    served: int
    refused: int
    vectors: int
    tokens: int
    truncated: int
    seconds: float
    file: str | None
    size: int
    sha256: str | None
    errors: str | None
    ids: str

    def to_json(self) -> bytes:
        """Returns the receipt as JSON."""
        return json.dumps(self._asdict()).encode()


def part_of(value: Any) -> Part:
    """Reads a part, as it stands in the plan.

    Raises:
        FieldError: it has other fields.
    """
    if not isinstance(value, dict) or set(value) != set(Part._fields):
        raise FieldError("part must be a line of the plan", param="part")
    part = Part(**value)
    texts, numbers = (part.part, part.object, part.kind, part.etag), (part.start, part.end, part.size)
    well_formed = all(isinstance(text, str) for text in texts) and part.part.isalnum()
    if not well_formed or not all(type(number) is int and number >= 0 for number in numbers):
        raise FieldError("part must be a line of the plan", param="part")
    return part


def receipt_of(content: bytes) -> Receipt | None:
    """Reads a receipt; None where it is one of another version, or none."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    known = isinstance(value, dict) and set(value) == set(Receipt._fields)
    return Receipt(**value) if known else None


def is_of_a_job(found: str) -> bool:
    """Whether a name below ``work`` is that of something that a job writes."""
    return (
        found in (PLAN, MANIFEST, FAILED, DOUBLES)
        or found.startswith(f"{RUNS}/")
        or bool(FILE.fullmatch(found))
    )


def name(prefix: str, part: str, segment: int, suffix: str) -> str:
    """Returns the name below ``work`` of what belongs to one file of a part."""
    return f"{prefix}{part}-{segment:04d}.{suffix}"


def jsonl(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Returns records as lines of JSON."""
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def records_of(content: bytes) -> list[dict[str, Any]]:
    """Returns the records that :func:`jsonl` has written."""
    return [json.loads(line) for line in content.decode("ascii").split("\n") if line]
