"""Writes vectors into an index of Amazon S3 Vectors.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-vectors-limitations.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from lambda_app.bulk.aws import Location, client, location, translated

SCHEME = "s3vectors"
# Of one request.
MAX_VECTORS = 500
MAX_BYTES = 20 * 1024 * 1024
# Of one vector.
MAX_KEY_BYTES = 1_024
MAX_METADATA_BYTES = 40 * 1024
MAX_METADATA_KEYS = 50
# What stands around the vectors of a request, with names and quotes.
ENVELOPE_BYTES = 1_024


class VectorItem(NamedTuple):
    """One vector under its key; ``encode_vectors`` makes floats whose JSON is short."""

    key: str
    vector: Sequence[float]
    metadata: Mapping[str, Any]


class Refused(NamedTuple):
    """An item that the index does not take: its place among those that were given, from 0, and why."""

    place: int
    code: str
    message: str


class VectorIndex:
    """One index, given as ``s3vectors://bucket/index``."""

    def __init__(self, url: str, name: str = "output") -> None:
        """Opens nothing; ``name`` is the field that ``url`` stands in.

        Raises:
            FieldError: ``url`` names no index.
        """
        self.place: Location = location(url, name, SCHEME)

    def put(self, items: Sequence[VectorItem]) -> list[Refused]:
        """Writes items in as few requests as S3 Vectors takes; an item that is there already is overwritten.

        Throttled requests are repeated, with longer and longer pauses. Items that the index refuses do not
        spoil the others.

        Raises:
            StorageRefusedError: there is no such index, or it may not be written to.
            StorageError: the service did not answer, also when asked again.
        """
        refused: list[Refused] = []
        entries: list[tuple[int, dict[str, Any]]] = []
        for index, item in enumerate(items):
            metadata = _metadata(item.metadata)
            if problem := _problem(item.key, metadata):
                refused.append(Refused(index, *problem))
            else:
                entries.append((index, _entry(item, metadata)))
        for batch in batches(entries):
            refused += self._put(batch)
        return sorted(refused)

    def delete(self, keys: Sequence[str]) -> None:
        """Deletes vectors, also where there are none.

        Raises:
            StorageRefusedError: they may not be deleted.
            StorageError: the service did not answer, also when asked again.
        """
        for start in range(0, len(keys), MAX_VECTORS):
            with translated(self._url):
                client("s3vectors").delete_vectors(
                    vectorBucketName=self.place.bucket,
                    indexName=self.place.key,
                    keys=list(keys[start : start + MAX_VECTORS]),
                )

    @property
    def _url(self) -> str:
        return f"{SCHEME}://{self.place.bucket}/{self.place.key}"

    def _put(self, batch: Sequence[tuple[int, dict[str, Any]]]) -> list[Refused]:
        service = client("s3vectors")
        try:
            with translated(self._url):
                self._request(service, batch)
        except _InvalidError as error:
            # The answer names fields, and not always which vector: halves find it.
            if len(batch) == 1:
                message = f"the index refuses the vector ({error}): check dimensions and metadata"
                return [Refused(batch[0][0], "vector_refused", message)]
            middle = len(batch) // 2
            return self._put(batch[:middle]) + self._put(batch[middle:])
        return []

    def _request(self, service: Any, batch: Sequence[tuple[int, dict[str, Any]]]) -> None:
        try:
            service.put_vectors(
                vectorBucketName=self.place.bucket,
                indexName=self.place.key,
                vectors=[entry for _, entry in batch],
            )
        except service.exceptions.ValidationException as error:
            raise _InvalidError("ValidationException") from error


class _InvalidError(Exception):
    """The service says that something in a request is not valid."""


def batches(entries: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yields entries in lists that fit one request, by number and by bytes."""
    batch: list[tuple[int, dict[str, Any]]] = []
    size = ENVELOPE_BYTES
    for index, entry in entries:
        # Two for what separates it from the next.
        added = len(json.dumps(entry)) + 2
        if batch and (len(batch) == MAX_VECTORS or size + added > MAX_BYTES):
            yield batch
            batch, size = [], ENVELOPE_BYTES
        batch.append((index, entry))
        size += added
    if batch:
        yield batch


def _entry(item: VectorItem, metadata: Mapping[str, Any]) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": item.key, "data": {"float32": list(item.vector)}}
    if metadata:
        entry["metadata"] = metadata
    return entry


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what S3 Vectors takes: strings, numbers, booleans and lists of them; the rest as JSON."""
    return {
        name: value if _is_plain(value) else json.dumps(value, ensure_ascii=False)
        for name, value in metadata.items()
        if value is not None and value != []
    }


def _is_plain(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(each, str | int | float) for each in value)
    return isinstance(value, str | int | float)


def _problem(key: str, metadata: Mapping[str, Any]) -> tuple[str, str] | None:
    if not 1 <= len(key.encode()) <= MAX_KEY_BYTES:
        return "invalid_id", f"S3 Vectors takes keys of 1 to {MAX_KEY_BYTES} bytes: shorten the id"
    size = len(json.dumps(metadata, ensure_ascii=False).encode())
    if len(metadata) > MAX_METADATA_KEYS or size > MAX_METADATA_BYTES:
        limits = f"{MAX_METADATA_KEYS} fields and {MAX_METADATA_BYTES} bytes"
        return "metadata_too_large", f"S3 Vectors takes {limits} of metadata: leave fields out"
    return None
