"""Rows of objects in several formats: an id, a text, metadata, and the place in the object."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from lambda_app.api.parsing import fields
from lambda_app.bulk import lines, s3
from lambda_app.bulk.job import POSITION, Job, Kind
from lambda_app.bulk.layout import Part
from lambda_app.bulk.s3 import StoredObject
from lambda_app.errors import FieldError, LimitError, RequestError, StorageRefusedError, TextError
from lambda_app.limits import Limits
from lambda_app.service.validation import check_text
from lambda_app.text import encodable

MAX_ID_BYTES = 1_024
GZIP_MAGIC = b"\x1f\x8b"
SUFFIXES: Mapping[str, Kind] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}


class Range(NamedTuple):
    """Bytes of an object that is read by lines; ``aligned`` where a line begins at ``start``."""

    start: int
    end: int
    aligned: bool


class Row(NamedTuple):
    """One row, or the ``error`` that it cannot be read for.

    ``position`` is a byte of an object whose lines can be read from anywhere, else the number of rows before
    it; ``next`` that of the following one. ``line`` counts from 1 where reading began; None where there are
    no lines.
    """

    position: int
    next: int
    line: int | None
    id: str = ""
    text: str = ""
    metadata: Mapping[str, Any] = {}
    error: RequestError | None = None


class Skip(NamedTuple):
    """A line that is not a row, because it is empty."""

    next: int
    line: int


def kind_of(key: str, chosen: Kind | None) -> tuple[Kind | None, bool]:
    """Returns the format of an object and whether it is packed, by the end of its key and the job's word."""
    packed = key.endswith(".gz")
    name = key.removesuffix(".gz")
    suffix = name[name.rfind(".") :] if "." in name else ""
    kind = chosen or SUFFIXES.get(suffix.lower())
    return kind, packed and kind != "parquet"


def is_divisible(kind: Kind, *, packed: bool) -> bool:
    """Whether an object can be read from the middle."""
    return kind == "jsonl" and not packed


def read_part(part: Part, position: int, job: Job, limits: Limits) -> Iterator[Row | Skip]:
    """Yields the rows of a part from a position on: a byte, or a row of an object that is not divided.

    Lines of a byte range are counted from where reading begins, those of other objects from the first.

    Raises:
        StorageRefusedError: the object cannot be read, or is not the one that was planned.
    """
    divisible = is_divisible(part.kind, packed=part.packed)
    begun = divisible and position > part.start
    return read_rows(
        StoredObject(part.place, part.size, part.etag),
        part.kind,
        job,
        limits,
        packed=part.packed,
        where=Range(position if begun else part.start, part.end, aligned=begun),
        skip=0 if divisible else position,
    )


def read_rows(
    stored: StoredObject, kind: Kind, job: Job, limits: Limits, *, packed: bool, where: Range, skip: int
) -> Iterator[Row | Skip]:
    """Yields the rows of a range of an object, or those after the first ``skip`` of an undivided one.

    Raises:
        StorageRefusedError: the object cannot be read, or is not the one that was planned.
    """
    make = _maker(job, stored.place.key, limits)
    if is_divisible(kind, packed=packed):
        content = s3.blocks(stored, lines.first_byte(where.start, aligned=where.aligned), where.end)
        if not where.start:
            content = _plain(content, stored)
        found = lines.lines_of_range(content, where.start, where.end, aligned=where.aligned)
        yield from _json_rows(found, make, by_bytes=True)
        return
    if kind == "parquet":
        from lambda_app.bulk.parquet_read import records

        columns = (job.id_field, job.text_field, *job.metadata_fields)
        for number, record in enumerate(records(stored, columns, skip), skip):
            yield make(record, number, number + 1, None)
        return
    content = s3.blocks(stored)
    content = s3.unpacked(content, stored.place) if packed else _plain(content, stored)
    if kind == "jsonl":
        rows = _json_rows(lines.lines(content, 0), make, by_bytes=False)
    else:
        rows = _table_rows(content, make, "," if kind == "csv" else "\t")
    for row in rows:
        if row.next > skip:
            yield row


def _plain(content: Iterator[bytes], stored: StoredObject) -> Iterator[bytes]:
    """Yields the blocks of an object, which may not be gzip under a name that does not say so."""
    first = next(content, b"")
    if first.startswith(GZIP_MAGIC):
        raise StorageRefusedError(
            f"{stored.place} is gzip: let its key end in .gz, also where it has a Content-Encoding",
            code="object_unreadable",
        )
    yield first
    yield from content


Maker = Callable[[Any, int, int, int | None], Row]


def _json_rows(found: Iterator[lines.Line], make: Maker, *, by_bytes: bool) -> Iterator[Row | Skip]:
    for number, line in enumerate(found):
        position, following = (line.offset, line.next) if by_bytes else (number, number + 1)
        if line.content is None:
            problem = LimitError(f"the line has more than {lines.MAX_LINE_BYTES} bytes", param="line")
            yield Row(position, following, number + 1, error=problem)
        elif not line.content.strip():
            yield Skip(following, number + 1)
        else:
            try:
                record = fields.parse_json(line.content)
            except RequestError as error:
                error.message = error.message.replace("the body", "the line")
                yield Row(position, following, number + 1, error=error)
            else:
                yield make(record, position, following, number + 1)


def _table_rows(content: Iterator[bytes], make: Maker, delimiter: str) -> Iterator[Row | Skip]:
    csv.field_size_limit(lines.MAX_LINE_BYTES)
    # Bytes that are not UTF-8 become lone surrogates, which are refused with their row.
    stream = io.TextIOWrapper(
        io.BufferedReader(s3.BlockStream(content)), "utf-8-sig", errors="surrogateescape", newline=""
    )
    reader = csv.reader(stream, delimiter=delimiter)
    names: list[str] | None = None
    number = 0
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problem = FieldError("the row cannot be read: check its quotes and its length")
            yield Row(number, number + 1, line, error=problem)
        else:
            if not values:
                continue
            if names is None:
                names = values
                continue
            if len(values) != len(names):
                problem = FieldError(f"the row has {len(values)} fields, the header {len(names)}")
                yield Row(number, number + 1, line, error=problem)
            else:
                yield make(dict(zip(names, values, strict=True)), number, number + 1, line)
        number += 1


def _maker(job: Job, key: str, limits: Limits) -> Maker:
    """Returns a function that makes a row of a record, or of what is wrong with it."""
    if job.chunk is not None:
        # Its pieces are what the model reads.
        limits = limits._replace(text_characters=limits.total_characters)

    def make(record: Any, position: int, following: int, line: int | None) -> Row:
        try:
            body = fields.json_object(record, "the row")
            text = fields.text(body, job.text_field)
            check_text(text, job.text_field, limits)
            name = f"{key}@{position}" if job.id_field == POSITION else _id(body, job.id_field)
            metadata = {field: body[field] for field in job.metadata_fields if body.get(field) is not None}
            _check_metadata(metadata)
        except RequestError as error:
            return Row(position, following, line, error=error)
        return Row(position, following, line, name, text, metadata)

    return make


def _id(body: Mapping[str, Any], field: str) -> str:
    value = body.get(field)
    if value is None:
        fields.missing(field, f"a string or a whole number, or id_field {POSITION}")
    if isinstance(value, bool) or not isinstance(value, str | int):
        fields.wrong(field, "a string or a whole number", value)
    name = str(value)
    if not name or not encodable(name) or len(name.encode()) > MAX_ID_BYTES:
        raise FieldError(f"{field} must have 1 to {MAX_ID_BYTES} bytes of UTF-8", param=field)
    return name


def _check_metadata(metadata: Mapping[str, Any]) -> None:
    for field, value in metadata.items():
        if not encodable(
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        ):
            raise TextError(f"{field} contains a lone surrogate, which is not Unicode text", param=field)
