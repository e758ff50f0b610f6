"""What a job is asked for: one record, made from the fields of an event."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, cast

from lambda_app.api.parsing import fields, unknown
from lambda_app.bulk import s3vectors
from lambda_app.bulk.aws import Location, location
from lambda_app.bulk.job_fields import OWN_COLUMNS, Chunk, JobRequest
from lambda_app.errors import FieldError, ModelUnavailableError
from lambda_app.limits import Limits
from lambda_app.service.validation import check_dimensions

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service

Format = Literal["jsonl", "parquet", "s3vectors"]
Kind = Literal["jsonl", "csv", "tsv", "parquet"]

# The id of a row that has none of its own: its object's key and its place there.
POSITION = "$position"
PART_BYTES = 1024 * 1024


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
    first = next(JobRequest.unknown_fields(body), None)
    if first is not None:
        unknown.refuse(first, JobRequest.known_fields())
    # None of its fields has a limit of texts.
    request = JobRequest(body, Limits(), None)
    output = request.output
    is_index = output.startswith(s3vectors.SCHEME + ":")
    if request.format == "parquet" and not is_index:
        _check_columns(request.metadata_fields)
    return Job(
        source=request.source,
        output=output,
        work=_work(output, request.work.rstrip("/"), is_index=is_index),
        format="s3vectors" if is_index else cast("Format", request.format or "jsonl"),
        encoding=request.encoding or "float",
        input_format=cast("Kind | None", request.input_format),
        text_field=request.text_field or "text",
        id_field=request.id_field or "id",
        metadata_fields=request.metadata_fields,
        input_type=request.input_type or "passage",
        dimensions=request.dimensions,
        chunk=request.chunk,
        part_bytes=request.part_bytes or PART_BYTES,
        tolerated_failure_percentage=request.tolerated_failure_percentage,
        resume=request.resume,
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


def _check_columns(names: tuple[str, ...]) -> None:
    """Refuses names that are one to those who read Parquet with SQL, which has no upper and lower case."""
    columns = [name.casefold() for name in (*OWN_COLUMNS, *names)]
    if len(set(columns)) < len(columns):
        raise FieldError(
            "metadata_fields may not name a column of the output or another field in other letters' case, as "
            "columns of Parquet have none",
            param="metadata_fields",
        )


def _work(output: str, work: str, *, is_index: bool) -> Location:
    if is_index:
        location(output, "output", s3vectors.SCHEME)
        if not work:
            raise FieldError(
                "work is missing: with an index as output, it must be the s3://bucket/prefix of plan, errors "
                "and manifest",
                param="work",
                code="missing_field",
            )
    return location(work, "work") if work else location(output, "output")
