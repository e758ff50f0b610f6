"""``/snowflake/embed`` and ``/snowflake/rerank``: batches of rows from Snowflake's external functions.

Each row begins with its number, which comes back with its result. A result depends on its row alone, and
nothing is kept, so that Snowflake may repeat a batch.
https://docs.snowflake.com/en/sql-reference/external-functions-data-format
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.json_schema import Refer, Schema, enum_schema, text_schema
from lambda_app.api.parsing.request import Field, Request
from lambda_app.api.providers.rows import embed_rows, read_rows, score_rows
from lambda_app.limits import Limits

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service

NULL: Schema = {"type": "null"}


class Rows(Field[list[list[Any]]]):
    """Rows, each its number and then one value for each argument of the SQL function."""

    def __init__(self, description: str, *arguments: Schema, optional: int = 0) -> None:
        super().__init__(description, required=True)
        self.arguments = arguments
        self.columns = tuple(range(1 + len(arguments) - optional, 2 + len(arguments)))

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[list[Any]]:
        rows = body.get(name)
        if rows is None:
            fields.missing(name, "a list of rows")
        rows = read_rows(rows, name, self.columns, _name, limits)
        for index, row in enumerate(rows):
            if isinstance(row[0], bool) or not isinstance(row[0], int):
                fields.wrong(_name(index, 0), "the row's number", row[0])
        return rows

    def schemas(self, refer: Refer) -> list[Schema]:
        row = {
            "items": False,
            "maxItems": self.columns[-1],
            "minItems": self.columns[0],
            "prefixItems": [{"type": "integer"}, *({"anyOf": [kind, NULL]} for kind in self.arguments)],
            "type": "array",
        }
        return [{"items": row, "maxItems": Limits().events, "type": "array"}]


class SnowflakeEmbedRequest(Request):
    """Texts to embed."""

    data = Rows(
        "Rows of number, text and input type, which is passage unless it is stated.",
        text_schema(),
        enum_schema(INPUT_TYPES),
        optional=1,
    )


class SnowflakeRerankRequest(Request):
    """Pairs of a query and a document to score."""

    data = Rows("Rows of number, query and document.", text_schema(), text_schema(may_be_empty=True))


def embed(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Answers with a vector for each row, null for a text that is NULL.

    Raises:
        RequestError: a row cannot be served, which the message names.
        DeadlineError: time ran out.
    """
    rows = SnowflakeEmbedRequest(body, service.limits, invocation).data
    vectors, fingerprint = embed_rows(
        service,
        [row[1] for row in rows],
        [_input_type(row, index) for index, row in enumerate(rows)],
        invocation,
        lambda index: _name(index, 1),
    )
    return _answer(rows, vectors), fingerprint


def rerank(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Answers with a score for each row, null where the query or the document is NULL.

    Raises:
        RequestError: a row cannot be served, which the message names.
        DeadlineError: time ran out.
    """
    rows = SnowflakeRerankRequest(body, service.limits, invocation).data
    scores, fingerprint = score_rows(
        service, [row[1:] for row in rows], invocation, lambda index, column: _name(index, column + 1)
    )
    return _answer(rows, scores), fingerprint


def _answer(rows: list[list[Any]], results: list[Any]) -> dict[str, Any]:
    return {"data": [[row[0], result] for row, result in zip(rows, results, strict=True)]}


def _input_type(row: list[Any], index: int) -> InputType:
    word = row[2] if len(row) > 2 and row[2] is not None else "passage"
    return INPUT_TYPES[fields.one_of(word, _name(index, 2), INPUT_TYPES)]


def _name(row: int, column: int) -> str:
    return f"data[{row}][{column}]"
