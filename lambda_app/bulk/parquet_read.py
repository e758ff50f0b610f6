"""Rows of Parquet, read in ranges: groups of rows that are passed over are not fetched."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from math import isfinite
from typing import Any

from lambda_app.bulk import s3
from lambda_app.bulk.database import (
    URL,
    Database,
    DatabaseError,
    ObjectFiles,
    OutOfMemoryError,
    connect,
    quoted,
)
from lambda_app.errors import StorageRefusedError

ROWS_AT_ONCE = 512
# DuckDB's own column, by which it passes over groups of rows.
NUMBER = "file_row_number"


def records(stored: s3.StoredObject, columns: Sequence[str], skip: int) -> Iterator[dict[str, Any]]:
    """Yields the rows of an object behind the first ``skip``, with those of ``columns`` that it has.

    Raises:
        StorageRefusedError: it is not Parquet, is not the one that was planned, or takes too much memory.
    """
    with _opened(stored) as database:
        yield from _rows(database, columns, skip)


def row_count(stored: s3.StoredObject) -> int:
    """Returns how many rows an object has, from its end alone.

    Raises:
        StorageRefusedError: it is not Parquet, or may not be read.
    """
    with _opened(stored) as database:
        found = database.execute("SELECT sum(num_rows) FROM parquet_file_metadata(?)", [URL]).fetchone()
    return int(found[0])


@contextmanager
def _opened(stored: s3.StoredObject) -> Iterator[Database]:
    files = ObjectFiles(stored)
    with tempfile.TemporaryDirectory() as directory, connect(directory) as database:
        try:
            database.register_filesystem(files)
            yield database
        except OutOfMemoryError as error:
            raise StorageRefusedError(
                f"{stored.place} has groups of rows that do not fit into memory: write it with smaller ones, "
                "or give the function more",
                code="object_unreadable",
            ) from error
        except DatabaseError as error:
            if files.error is not None:
                raise files.error from error
            raise StorageRefusedError(
                f"{stored.place} cannot be read as Parquet: check the object", code="object_unreadable"
            ) from error


def _rows(database: Database, columns: Sequence[str], skip: int) -> Iterator[dict[str, Any]]:
    described = database.execute("SELECT * FROM read_parquet(?) LIMIT 0", [URL]).description or []
    there = {entry[0] for entry in described}
    wanted = [name for name in columns if name in there]
    chosen = ", ".join(map(quoted, wanted)) or "1"
    # Rows come in the order of the file, which DuckDB keeps unless told otherwise.
    query = f"SELECT {chosen} FROM read_parquet(?, {NUMBER} = true) WHERE {NUMBER} >= ?"  # noqa: S608 (quoted)
    if NUMBER in there:
        query = f"SELECT {chosen} FROM read_parquet(?) OFFSET ?"  # noqa: S608 (quoted)
    database.execute(query, [URL, skip])
    while rows := database.fetchmany(ROWS_AT_ONCE):
        for row in rows:
            yield {name: _plain(value) for name, value in zip(wanted, row, strict=False)}


def _plain(value: Any) -> Any:
    """Returns a value as JSON has it: numbers that JSON does not have as None, other types as strings."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if isfinite(value) else None
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, bytes):
        # Older writers leave strings unmarked. Bytes that are not UTF-8 are refused with their row.
        return value.decode("utf-8", errors="surrogateescape")
    return str(value)
