"""Rows of a data warehouse: a text or a pair of texts in each, NULL in and NULL out.

A row that cannot be served fails its batch, because warehouses read one result for each row or one error;
the error names the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.errors import DeadlineError, FieldError, LimitError, RequestError, ResponseTooLargeError
from lambda_app.service.types import EmbedRequest, RerankRequest
from lambda_app.service.validation import check_characters

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.limits import Limits
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service

# What both Redshift and Snowflake call the rows of one request.
CURE = "set MAX_BATCH_ROWS of the SQL function to {rows}"
# A place in a batch, as (row, column), to what the caller calls it.
Name = Callable[[int, int], str]


def read_rows(
    value: Any, field: str, columns: tuple[int, ...], name: Name, limits: Limits
) -> list[list[Any]]:
    """Returns rows, each a list with one of the numbers of ``columns``.

    Raises:
        RequestError: there are too many, or one is not such a list.
    """
    if not isinstance(value, list):
        fields.wrong(field, "a list of rows", value)
    check_count(len(value), limits.events)
    for row, cells in enumerate(value):
        where = f"{field}[{row}]"
        if not isinstance(cells, list):
            fields.wrong(where, "a list", cells)
        if len(cells) not in columns:
            counts = " or ".join(map(str, columns))
            raise FieldError(f"{where} holds {len(cells)} values, it must hold {counts}", param=where)
        for column, cell in enumerate(cells):
            if isinstance(cell, str):
                # What no row may hold. Whether a text may be empty or hold a NUL is the service's matter.
                check_characters(cell.replace("\0", ""), name(row, column), limits)
    return value


def check_count(rows: int, limit: int) -> None:
    """Checks the number of rows of a batch.

    Raises:
        LimitError: there are too many.
    """
    if rows > limit:
        raise LimitError(f"the batch holds {rows} rows, {limit} fit: {CURE.format(rows=limit)}")


def too_large(rows: int, size: int, limit: int) -> ResponseTooLargeError:
    """Returns the error of a batch whose results have ``size`` bytes."""
    fit = max(1, rows * limit // size)
    return ResponseTooLargeError(
        f"the results of {rows} rows have {size} bytes, {limit} fit: {CURE.format(rows=fit)}", fit=fit
    )


def embed_rows(
    service: Service,
    texts: Sequence[Any],
    input_types: Sequence[InputType],
    invocation: Invocation,
    name: Callable[[int], str],
) -> tuple[list[list[float] | None], str]:
    """Returns the vector of each text, None for None, and the fingerprint, empty where nothing was embedded.

    ``name`` gives what the caller calls the text of a row.

    Raises:
        RequestError: naming the row.
        DeadlineError: time ran out.
    """
    groups: dict[InputType, list[int]] = {}
    for row, (text, input_type) in enumerate(zip(texts, input_types, strict=True)):
        if text is not None:
            if not isinstance(text, str):
                fields.wrong(name(row), "a string or NULL", text)
            groups.setdefault(input_type, []).append(row)
    check_count(sum(map(len, groups.values())), service.limits.embed_texts)
    vectors: list[list[float] | None] = [None] * len(texts)
    fingerprint = ""
    for input_type, rows in groups.items():
        request = EmbedRequest([texts[row] for row in rows], input_type)
        try:
            result = service.embed(request, invocation)
        except RequestError as error:
            _raise_named(error, {f"texts[{index}]": name(row) for index, row in enumerate(rows)})
        fingerprint = result.fingerprint
        for row, vector in zip(rows, encode_vectors(result.vectors), strict=True):
            vectors[row] = vector
    return vectors, fingerprint


def score_rows(
    service: Service, pairs: Sequence[Sequence[Any]], invocation: Invocation, name: Name
) -> tuple[list[float | None], str]:
    """Returns the score of each (query, document), None where one is None, and the fingerprint.

    Pairs of the same query are ranked together. ``name`` is called with the column in the pair.

    Raises:
        RequestError: naming the row.
        DeadlineError: time ran out.
    """
    groups: dict[str, list[int]] = {}
    for row, pair in enumerate(pairs):
        for column, text in enumerate(pair):
            if not (text is None or isinstance(text, str)):
                fields.wrong(name(row, column), "a string or NULL", text)
        if None not in pair:
            groups.setdefault(pair[0], []).append(row)
    scores: list[float | None] = [None] * len(pairs)
    fingerprint, done = "", 0
    for query, group in groups.items():
        for rows in _portions(group, pairs, service.limits):
            request = RerankRequest(query, [pairs[row][1] for row in rows])
            try:
                result = service.rerank(request, invocation)
            except RequestError as error:
                names = {f"documents[{index}]": name(row, 1) for index, row in enumerate(rows)}
                _raise_named(error, {**names, "query": name(rows[0], 0)})
            except DeadlineError as error:
                raise DeadlineError(
                    error.message, done=done + error.done, total=sum(map(len, groups.values()))
                ) from None
            fingerprint = result.fingerprint
            done += len(rows)
            for index, score in result.results:
                scores[rows[index]] = score
    return scores, fingerprint


def _portions(rows: Sequence[int], pairs: Sequence[Sequence[str]], limits: Limits) -> Iterator[list[int]]:
    """Yields rows in portions whose documents fit one request."""
    portion: list[int] = []
    characters = 0
    for row in rows:
        length = len(pairs[row][1])
        full = len(portion) >= limits.rerank_documents or characters + length > limits.total_characters
        if portion and full:
            yield portion
            portion, characters = [], 0
        portion.append(row)
        characters += length
    yield portion


def _raise_named(error: RequestError, names: Mapping[str, str]) -> NoReturn:
    """Raises the error of a request with what the caller calls its text, and with what SQL can change."""
    if isinstance(error, ResponseTooLargeError) and error.fit is not None:
        raise ResponseTooLargeError(
            f"the results of this batch pass the response's limit: {CURE.format(rows=error.fit)}",
            fit=error.fit,
            size=error.size,
        ) from None
    where = names.get(error.param or "")
    if where is not None and error.param is not None:
        raise type(error)(
            error.message.replace(error.param, where, 1), param=where, code=error.code
        ) from None
    if isinstance(error, LimitError) and error.param == "texts":
        raise LimitError(f"{error.message}: {CURE.format(rows='fewer')}", param=error.param) from None
    raise error
