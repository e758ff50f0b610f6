"""The fields of a job, each declared once: how it is read, and its JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.choices import Choice
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.json_schema import Refer, Schema
from lambda_app.api.parsing.request import AnyText, Field, Flag, Integer, Request
from lambda_app.api.parsing.vectors import ENCODINGS
from lambda_app.bulk.aws import Location, location
from lambda_app.errors import FieldError
from lambda_app.limits import Limits

FORMATS = ("jsonl", "parquet")
KINDS = ("jsonl", "csv", "tsv", "parquet")
# What stands in a line of output beside metadata.
OWN_COLUMNS = ("id", "vector", "document", "start", "end", "truncated")
MIN_PART_BYTES = 1024
MAX_METADATA_FIELDS = 32


class Chunk(NamedTuple):
    """How documents are cut: tokens of a piece, and how many of them it shares with the one before."""

    tokens: int
    overlap: int


class Place(Field[Location]):
    """A bucket and a key or prefix in it."""

    def __init__(self, description: str) -> None:
        super().__init__(description, required=True)

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> Location:
        return location(fields.text(body, name), name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"minLength": 1, "type": "string"}]


class Output(Field[str]):
    """Where vectors go."""

    def __init__(self, description: str) -> None:
        super().__init__(description, required=True)

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> str:
        return fields.text(body, name).rstrip("/")

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"minLength": 1, "type": "string"}]


class Names(Field[tuple[str, ...]]):
    """Names of fields of a row, each once."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> tuple[str, ...]:
        value = body.get(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise FieldError(f"{name} must be a list of field names", param=name)
        if len(value) > MAX_METADATA_FIELDS or len(set(value)) < len(value):
            raise FieldError(f"{name} may name at most {MAX_METADATA_FIELDS} fields, each once", param=name)
        if taken := set(value) & set(OWN_COLUMNS):
            raise FieldError(
                f"{name} may not name {', '.join(sorted(taken))}, which the output has of its own", param=name
            )
        return tuple(value)

    def schemas(self, refer: Refer) -> list[Schema]:
        item = {"minLength": 1, "type": "string"}
        return [{"items": item, "maxItems": MAX_METADATA_FIELDS, "type": "array"}]


class Percentage(Field[float]):
    """A number from 0 to 100; read as 0 where it is absent."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> float:
        value = body.get(name)
        if value is None:
            return 0.0
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
            raise FieldError(f"{name} must be a number from 0 to 100", param=name)
        return float(value)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"maximum": 100, "minimum": 0, "type": "number"}]


class ChunkRequest(Request):
    """How documents are cut."""

    tokens = Integer("Tokens of a piece, as the model's own tokenizer counts them.")
    overlap = Integer("How many of them it shares with the piece before it.", minimum=0)


class Chunking(Field["Chunk | None"]):
    """How documents are cut; read as None where it is absent."""

    kind = ChunkRequest

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> Chunk | None:
        if body.get(name) is None:
            return None
        request = ChunkRequest(body[name], limits, None, name)
        if request.tokens is None:
            raise FieldError(f"{name}.tokens is missing: it must be a whole number", param=name)
        overlap = request.overlap or 0
        if overlap >= request.tokens:
            raise FieldError(f"{name}.overlap must be less than {name}.tokens", param=name)
        return Chunk(request.tokens, overlap)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [refer(ChunkRequest)]


class JobRequest(Request):
    """A job over objects in S3."""

    refuses_unknown = True

    source = Place("One object, or a directory of them.")
    output = Output("A prefix of S3, or an index of S3 Vectors.")
    work = AnyText("Where plan, errors and manifest go, unless below the output.")
    format = Choice(
        {word: word for word in FORMATS}, "Of the files in the output: jsonl unless it is stated."
    )
    encoding = Choice(ENCODINGS, "How vectors are written in JSON lines: float unless it is stated.")
    input_format = Choice({word: word for word in KINDS}, "Of objects whose names do not say it.")
    text_field = AnyText("The field of a row that is embedded: text unless it is stated.")
    id_field = AnyText("The field that names a row: id unless it is stated.")
    metadata_fields = Names("Fields that are copied.")
    input_type = Choice(INPUT_TYPES, "Selects the prompt: passage unless it is stated.")
    dimensions = Integer("Fewer than the model has, where it was trained for that.")
    chunk = Chunking("Cuts documents into pieces.")
    part_bytes = Integer("Of one part of an object that can be cut anywhere.", minimum=MIN_PART_BYTES)
    tolerated_failure_percentage = Percentage("Of the rows that may be refused.")
    resume = Flag("Keeps files that fit.")
