"""What a job is asked for: one record, read from the fields of an event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.vectors import ENCODINGS
from lambda_app.bulk import s3vectors
from lambda_app.bulk.aws import Location, location
from lambda_app.errors import FieldError, ModelUnavailableError
from lambda_app.service.validation import check_dimensions

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service

Format = Literal["jsonl", "parquet", "s3vectors"]
Kind = Literal["jsonl", "csv", "tsv", "parquet"]

JOB_FIELDS = (
    *("source", "output", "work", "format", "encoding", "input_format", "text_field", "id_field"),
    *("metadata_fields", "input_type", "dimensions", "chunk", "part_bytes"),
    *("tolerated_failure_percentage", "resume"),
)
# What stands in a line of output beside metadata.
OWN_COLUMNS = ("id", "vector", "document", "start", "end", "truncated")
# The id of a row that has none of its own: its object's key and its place there.
POSITION = "$position"
PART_BYTES = 1024 * 1024
MIN_PART_BYTES = 1024
MAX_METADATA_FIELDS = 32


class Chunk(NamedTuple):
    """How documents are cut: tokens of a piece, and how many of them it shares with the one before."""

    tokens: int
    overlap: int


class Job(NamedTuple):
    """A job. ``work`` is where plan, errors and manifest are: ``output``, unless that is an index."""

    source: Location
    output: str
    work: Location
    format: Format
    encoding: str
    input_format: Kind | None
    text_field: str
    id_field: str
    metadata_fields: tuple[str, ...]
    input_type: InputType
    dimensions: int | None
    chunk: Chunk | None
    part_bytes: int
    tolerated_failure_percentage: float
    resume: bool

    @property
    def digest(self) -> str:
        """A hash of all that decides what a row becomes: a part of another is not taken up again."""
        wanted = (
            *(self.output, self.format, self.encoding, self.input_format, self.text_field, self.id_field),
            *(self.metadata_fields, self.input_type, self.dimensions, self.chunk),
        )
        return hashlib.sha256(json.dumps(wanted).encode()).hexdigest()[:32]


def read_job(event: Mapping[str, Any], more: tuple[str, ...] = ()) -> Job:
    """Reads the fields of a job, in ``job`` or beside the action; ``more`` are the action's own.

    Raises:
        FieldError: one of them is missing, unknown or wrong.
    """
    own = ("action", "job", *more)
    if event.get("job") is not None:
        fields.reject_unknown(event, own)
        body = fields.json_object(event["job"], "job")
    else:
        body = {name: value for name, value in event.items() if name not in own}
    fields.reject_unknown(body, JOB_FIELDS)
    source = location(fields.text(body, "source"), "source")
    output = fields.text(body, "output").rstrip("/")
    return Job(
        source=source,
        output=output,
        work=_work(body, output),
        format=_format(body, output),
        encoding=fields.optional_meaning(body, "encoding", ENCODINGS) or "float",
        input_format=cast("Kind | None", _choice(body, "input_format", ("jsonl", "csv", "tsv", "parquet"))),
        text_field=fields.optional_text(body, "text_field") or "text",
        id_field=fields.optional_text(body, "id_field") or "id",
        metadata_fields=_metadata_fields(body),
        input_type=fields.optional_meaning(body, "input_type", INPUT_TYPES) or "passage",
        dimensions=fields.optional_integer(body, "dimensions"),
        chunk=_chunk(body),
        part_bytes=fields.optional_integer(body, "part_bytes", minimum=MIN_PART_BYTES) or PART_BYTES,
        tolerated_failure_percentage=_percentage(body),
        resume=fields.optional_flag(body, "resume"),
    )


def check_model(service: Service, job: Job) -> int:
    """Returns the dimensions of the job's vectors, if this function can make them.

    Raises:
        ModelUnavailableError: it serves no embeddings.
        FieldError: the model has no such dimensions, or takes fewer tokens than a piece has.
    """
    if not service.registry.serves("embedding"):
        raise ModelUnavailableError("this function serves no embedding model")
    embedder = service.registry.embedder
    dimensions = check_dimensions(embedder.model, job.dimensions, "dimensions")
    if job.chunk is not None:
        limit = embedder.text_tokens(job.input_type)
        if job.chunk.tokens > limit:
            raise FieldError(
                f"chunk.tokens must be at most {limit}, which is what the model takes of a text beside its "
                "prompt",
                param="chunk",
            )
    return dimensions


def _work(body: Mapping[str, Any], output: str) -> Location:
    work = fields.optional_text(body, "work").rstrip("/")
    if output.startswith(s3vectors.SCHEME + ":"):
        location(output, "output", s3vectors.SCHEME)
        if not work:
            raise FieldError(
                "work is missing: with an index as output, it must be the s3://bucket/prefix of plan, errors "
                "and manifest",
                param="work",
                code="missing_field",
            )
        return location(work, "work")
    return location(work, "work") if work else location(output, "output")


def _format(body: Mapping[str, Any], output: str) -> Format:
    chosen = _choice(body, "format", ("jsonl", "parquet")) or "jsonl"
    return "s3vectors" if output.startswith(s3vectors.SCHEME + ":") else cast("Format", chosen)


def _choice(body: Mapping[str, Any], name: str, words: tuple[str, ...]) -> str | None:
    return fields.optional_meaning(body, name, {word: word for word in words})


def _metadata_fields(body: Mapping[str, Any]) -> tuple[str, ...]:
    value = body.get("metadata_fields")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise FieldError("metadata_fields must be a list of field names", param="metadata_fields")
    if len(value) > MAX_METADATA_FIELDS or len(set(value)) < len(value):
        raise FieldError(
            f"metadata_fields may name at most {MAX_METADATA_FIELDS} fields, each once",
            param="metadata_fields",
        )
    if taken := set(value) & set(OWN_COLUMNS):
        names = ", ".join(sorted(taken))
        raise FieldError(
            f"metadata_fields may not name {names}, which the output has of its own", param="metadata_fields"
        )
    return tuple(value)


def _chunk(body: Mapping[str, Any]) -> Chunk | None:
    if body.get("chunk") is None:
        return None
    chunk = fields.json_object(body["chunk"], "chunk")
    fields.reject_unknown(chunk, ("tokens", "overlap"))
    tokens = fields.optional_integer(chunk, "tokens")
    if tokens is None:
        raise FieldError("chunk.tokens is missing: it must be a whole number", param="chunk")
    overlap = fields.optional_integer(chunk, "overlap", minimum=0) or 0
    if overlap >= tokens:
        raise FieldError("chunk.overlap must be less than chunk.tokens", param="chunk")
    return Chunk(tokens, overlap)


def _percentage(body: Mapping[str, Any]) -> float:
    name = "tolerated_failure_percentage"
    value = body.get(name)
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise FieldError(f"{name} must be a number from 0 to 100", param=name)
    return float(value)
