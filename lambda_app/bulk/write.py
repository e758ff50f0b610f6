"""What vectors are written as: lines of JSON, packed; Parquet; or entries of an index."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.bulk.chunks import Item
from lambda_app.bulk.layout import MAX_FILE_VECTORS
from lambda_app.bulk.s3vectors import Refused, VectorIndex, VectorItem

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bulk.job import Job

# More than this, and a file ends and the next one begins.
MAX_FILE_BYTES = 32 * 1024 * 1024
# Higher levels take more time than they save.
GZIP_LEVEL = 1


class Writer(Protocol):
    """Takes vectors, and gives the file that they make."""

    suffix: str

    def add(self, items: Sequence[Item], vectors: np.ndarray, truncated: frozenset[int]) -> list[Refused]:
        """Takes vectors; returns the items that cannot be written."""
        ...

    @property
    def is_full(self) -> bool:
        """Whether the file should end here."""
        ...

    def content(self) -> bytes | None:
        """Returns the file, None where there is none."""
        ...


def writer(job: Job) -> Writer:
    """Returns the writer of a job's format, with nothing in it."""
    if job.format == "s3vectors":
        return IndexWriter(job)
    if job.format == "parquet":
        from lambda_app.bulk.parquet_write import ParquetWriter

        return ParquetWriter(job)
    return JsonWriter(job)


class JsonWriter:
    """Lines of JSON under gzip, packed as they come."""

    suffix = "jsonl.gz"

    def __init__(self, job: Job) -> None:
        self._as_base64 = job.encoding == "base64"
        # No time of day in the header: the same vectors are the same bytes.
        self._packer = zlib.compressobj(GZIP_LEVEL, wbits=31)
        self._packed: list[bytes] = []
        self._bytes = self._vectors = 0

    def add(self, items: Sequence[Item], vectors: np.ndarray, truncated: frozenset[int]) -> list[Refused]:
        """Writes one line for each vector."""
        encoded = encode_vectors(vectors, as_base64=self._as_base64)
        for index, (item, vector) in enumerate(zip(items, encoded, strict=True)):
            line: dict[str, Any] = {"id": item.id, "vector": vector}
            if item.document is not None:
                line |= {"document": item.document, "start": item.start, "end": item.end}
            if item.metadata:
                line["metadata"] = item.metadata
            if index in truncated:
                line["truncated"] = True
            self._pack(self._packer.compress(json.dumps(line, default=str).encode() + b"\n"))
        self._vectors += len(items)
        return []

    @property
    def is_full(self) -> bool:
        """Whether the file has enough bytes or vectors."""
        return self._bytes >= MAX_FILE_BYTES or self._vectors >= MAX_FILE_VECTORS

    def content(self) -> bytes | None:
        """Returns the packed lines; no lines are an empty file of gzip."""
        self._pack(self._packer.flush())
        return b"".join(self._packed)

    def _pack(self, packed: bytes) -> None:
        if packed:
            self._packed.append(packed)
            self._bytes += len(packed)


class IndexWriter:
    """Entries of S3 Vectors, written at once."""

    suffix = ""

    def __init__(self, job: Job) -> None:
        self._index = VectorIndex(job.output)

    def add(self, items: Sequence[Item], vectors: np.ndarray, truncated: frozenset[int]) -> list[Refused]:
        """Writes vectors with their metadata, and where a piece is in its document."""
        entries = []
        for item, vector in zip(items, encode_vectors(vectors), strict=True):
            own = {"document": item.document, "start": item.start, "end": item.end}
            metadata = {**item.metadata, **(own if item.document is not None else {})}
            entries.append(VectorItem(item.id, vector, metadata))
        refused = self._index.put(entries)
        codes = {items[each.place].row: each for each in reversed(refused)}
        taken = set(range(len(items))) - {each.place for each in refused}
        # Of a document, all pieces are in the index or none.
        others = [place for place in sorted(taken) if items[place].row in codes]
        self._index.delete([items[place].id for place in others])
        return sorted([*refused, *(codes[items[place].row]._replace(place=place) for place in others)])

    @property
    def is_full(self) -> bool:
        """Never: there is no file."""
        return False

    def content(self) -> bytes | None:
        """Returns None."""
        return None
