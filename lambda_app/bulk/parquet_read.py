"""Rows of Parquet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lambda_app.bulk import s3
from lambda_app.bulk.database import Database, DatabaseError, connect, quoted
from lambda_app.errors import StorageRefusedError

ROWS_AT_ONCE = 512


def records(stored: s3.StoredObject, columns: Sequence[str], skip: int) -> Iterator[dict[str, Any]]:
    """Yields the rows of an object behind the first ``skip``, with those of ``columns`` that it has.

    The object is copied to the temporary directory, since Parquet is read from its end.

    Raises:
        StorageRefusedError: it is not Parquet, or does not fit there.
    """
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.parquet"
        try:
            with path.open("wb") as stream:
                for block in s3.blocks(stored):
                    stream.write(block)
        except OSError as error:
            raise StorageRefusedError(
                f"{stored.place} does not fit into the temporary directory: give the function more ephemeral "
                "storage, or cut the object",
                code="object_unreadable",
            ) from error
        with connect(directory) as database:
            try:
                yield from _rows(database, str(path), columns, skip)
            except DatabaseError as error:
                raise StorageRefusedError(
                    f"{stored.place} cannot be read as Parquet: check the object", code="object_unreadable"
                ) from error


def _rows(database: Database, path: str, columns: Sequence[str], skip: int) -> Iterator[dict[str, Any]]:
    described = database.execute("SELECT * FROM read_parquet(?) LIMIT 0", [path]).description or []
    there = {entry[0] for entry in described}
    wanted = [name for name in columns if name in there]
    chosen = ", ".join(map(quoted, wanted)) or "1"
    # Rows come in the order of the file, which DuckDB keeps unless told otherwise.
    database.execute(f"SELECT {chosen} FROM read_parquet(?) OFFSET ?", [path, skip])  # noqa: S608 (quoted)
    while rows := database.fetchmany(ROWS_AT_ONCE):
        for row in rows:
            yield dict(zip(wanted, row, strict=False))
