"""Batches of rows from a Lambda UDF of Amazon Redshift.

The UDF's name in SQL chooses the function. Redshift reads a string of JSON, with one result for each row or
one error for all of them.
https://docs.aws.amazon.com/redshift/latest/dg/udf-creating-a-lambda-sql-udf.html
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.providers.rows import embed_rows, read_rows, score_rows, too_large
from lambda_app.errors import DeadlineError, FieldError, RequestError
from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType

# The prefix that Redshift reserves for UDFs.
PREFIX = "f_"


def matches(event: Any) -> bool:
    """Whether an event is a batch of a UDF's rows."""
    return (
        isinstance(event, dict) and isinstance(event.get("external_function"), str) and "arguments" in event
    )


def answer(service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Returns a string of JSON with the results, or with the caller's mistake.

    A fault of ours is raised: Redshift calls again until RETRY_TIMEOUT, and fails the query then.
    """
    try:
        results = _results(service, event, invocation)
        text = json.dumps({"success": True, "num_records": len(results), "results": results})
        # As Lambda writes it: a string, whose quotes are escaped.
        size = len(text) + text.count('"') + text.count("\\") + 2
        if size > invocation.response_bytes:
            raise too_large(len(results), size, invocation.response_bytes)
    except (RequestError, DeadlineError) as error:
        message = f"{error.code}: {error.message}"
        return Result(json.dumps({"success": False, "error_msg": message}), error.code)
    return Result(text)


def _results(service: Service, event: Mapping[str, Any], invocation: Invocation) -> list[Any]:
    # A name may have its schema in front, and quotes around it.
    name = event["external_function"].rpartition(".")[2].strip('"').lower().removeprefix(PREFIX)
    function = FUNCTIONS.get(name)
    if function is None:
        known = ", ".join(FUNCTIONS)
        raise FieldError(
            f"name the UDF {known}, with or without {PREFIX}, in any schema: its name chooses what it does",
            param="external_function",
            code="unknown_function",
        )
    columns, run = function
    rows = read_rows(event["arguments"], "arguments", (columns,), _name, service.limits)
    count = fields.optional_integer(event, "num_records", minimum=0)
    if count is not None and count != len(rows):
        raise FieldError(f"num_records is {count}, and arguments holds {len(rows)} rows", param="num_records")
    return run(service, rows, invocation)


def _name(row: int, column: int) -> str:
    return f"arguments[{row}][{column}]"


def _embed(input_type: InputType) -> Callable[[Service, list[list[Any]], Invocation], list[Any]]:
    def embed(service: Service, rows: list[list[Any]], invocation: Invocation) -> list[Any]:
        vectors, _ = embed_rows(
            service, [row[0] for row in rows], [input_type] * len(rows), invocation, lambda row: _name(row, 0)
        )
        # A VARCHAR, for JSON_PARSE.
        return [None if vector is None else json.dumps(vector, separators=(",", ":")) for vector in vectors]

    return embed


def _score(service: Service, rows: list[list[Any]], invocation: Invocation) -> list[Any]:
    return score_rows(service, rows, invocation, _name)[0]


# The number of a UDF's arguments, and what runs it.
FUNCTIONS: Mapping[str, tuple[int, Callable[[Service, list[list[Any]], Invocation], list[Any]]]] = {
    "embed_query": (1, _embed("query")),
    "embed_passage": (1, _embed("passage")),
    "rerank_score": (2, _score),
}
