"""Vectors as Parquet."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lambda_app.bulk.database import connect, quoted
from lambda_app.bulk.layout import MAX_FILE_VECTORS
from lambda_app.bulk.s3vectors import Refused

if TYPE_CHECKING:
    from lambda_app.bulk.chunks import Item
    from lambda_app.bulk.job import Job


class ParquetWriter:
    """A file with ``id``, ``vector`` (FLOAT[]) and metadata as VARCHAR: every file has the same columns."""

    suffix = "parquet"

    def __init__(self, job: Job) -> None:
        self._job = job
        self._items: list[Item] = []
        self._vectors: list[np.ndarray] = []
        self._truncated: list[bool] = []

    def add(self, items: Sequence[Item], vectors: np.ndarray, truncated: frozenset[int]) -> list[Refused]:
        """Keeps the vectors for :meth:`content`."""
        self._items += items
        self._vectors.append(vectors.astype(np.float32))
        self._truncated += [index in truncated for index in range(len(items))]
        return []

    @property
    def is_full(self) -> bool:
        """Whether the file has enough vectors."""
        return len(self._items) >= MAX_FILE_VECTORS

    def content(self) -> bytes | None:
        """Returns the file; one without rows has its columns all the same."""
        columns, selected = self._columns()
        with tempfile.TemporaryDirectory() as directory, connect(directory) as database:
            path = Path(directory) / "part.parquet"
            # DuckDB reads a dictionary of arrays as a table, by the name of the variable.
            database.register("columns", columns)
            database.execute(f"COPY (SELECT {selected} FROM columns) TO '{path}' (FORMAT parquet)")  # noqa: S608
            return path.read_bytes()

    def _columns(self) -> tuple[dict[str, np.ndarray], str]:
        items = self._items
        columns = {"id": _strings([item.id for item in items])}
        vectors = np.empty(len(items), dtype=object)
        vectors[:] = [row.tolist() for block in self._vectors for row in block]
        columns["vector"] = vectors
        selected = ['"id"::VARCHAR AS "id"', '"vector"::FLOAT[] AS "vector"']
        if self._job.chunk is not None:
            columns["document"] = _strings([item.document for item in items])
            columns["start"] = np.array([item.start for item in items], dtype=np.int64)
            columns["end"] = np.array([item.end for item in items], dtype=np.int64)
            selected += ['"document"::VARCHAR AS "document"', '"start"', '"end"']
        columns["truncated"] = np.array(self._truncated, dtype=bool)
        selected.append('"truncated"')
        for name in self._job.metadata_fields:
            columns[name] = _strings([_as_text(item.metadata.get(name)) for item in items])
            selected.append(f"{quoted(name)}::VARCHAR AS {quoted(name)}")
        return columns, ", ".join(selected)


def _strings(values: Sequence[str | None]) -> np.ndarray:
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
