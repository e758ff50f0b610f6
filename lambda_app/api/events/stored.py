"""Sinks that are ready: results as objects in S3, and vectors in an index of S3 Vectors.

Both write under the event's ``id``, or else under the message's own, so that a message that is delivered
twice is stored once. Imported only where RESULT_SINK names one of them; an AWS client is imported with the
first results.
"""

from __future__ import annotations

import base64
import hashlib
import json
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from typing import Any
from urllib.parse import quote

from lambda_app.errors import ConfigurationError, LambdaAppError, NotStoredError

# Objects that are written at the same time.
WRITERS = 8
# A key of S3 has 1,024 bytes at most, with the prefix.
MAX_NAME = 512


def ready_sink(url: str) -> Callable[[list[dict[str, Any]]], None]:
    """Returns the sink of ``s3://bucket/prefix`` or ``s3vectors://bucket/index``.

    Raises:
        ConfigurationError: the image has no AWS client.
    """
    if find_spec("boto3") is None:
        raise ConfigurationError(
            "RESULT_SINK needs boto3, which is not in this image: build it with EXTRAS=bulk",
            param="RESULT_SINK",
        )
    return partial(_store_vectors if url.startswith("s3vectors:") else _store_objects, url)


def object_name(result: dict[str, Any]) -> str:
    """Returns the name of a result: the event's ``id``, or the message's own, as one part of a path."""
    name = quote(_name(result), safe=":")
    return name if len(name) <= MAX_NAME else hashlib.sha256(name.encode("ascii")).hexdigest()


def _store_objects(url: str, results: list[dict[str, Any]]) -> None:
    """Writes each result as an object of its own.

    Raises:
        NotStoredError: some could not be written.
    """
    from lambda_app.bulk.aws import client, location, translated

    service, place = client("s3"), location(url, "RESULT_SINK")

    def put(name: str, result: dict[str, Any]) -> LambdaAppError | None:
        key = place.below(f"{name}.json").key
        try:
            with translated(url):
                service.put_object(
                    Bucket=place.bucket,
                    Key=key,
                    Body=json.dumps(result).encode("ascii"),
                    ContentType="application/json",
                )
        except LambdaAppError as error:
            return error
        return None

    # The last result of a name counts, as it would if they were written one after the other.
    places = {object_name(result): index for index, result in enumerate(results)}
    with ThreadPoolExecutor(WRITERS) as pool:
        errors = dict(
            zip(places, pool.map(put, places, [results[index] for index in places.values()]), strict=True)
        )
    failed = {name for name, error in errors.items() if error is not None}
    if failed:
        first = next(error for error in errors.values() if error is not None)
        raise NotStoredError(
            first.message, [index for index, result in enumerate(results) if object_name(result) in failed]
        )


def _store_vectors(url: str, results: list[dict[str, Any]]) -> None:
    """Writes the vectors of each result: under its name, or as name#0, name#1 where it has several.

    Raises:
        NotStoredError: some hold no vectors, or the index does not take them.
    """
    from lambda_app.bulk.s3vectors import VectorIndex, VectorItem

    items: dict[str, tuple[int, VectorItem]] = {}
    failed: dict[int, str] = {}
    for index, result in enumerate(results):
        vectors = result["answer"].get("embeddings")
        if vectors is None:
            failed[index] = "the result has no vectors: an index takes those of embed events alone"
            continue
        name = _name(result)
        for number, vector in enumerate(vectors):
            key = name if len(vectors) == 1 else f"{name}#{number}"
            items[key] = index, VectorItem(key, _floats(vector), {})
    written = list(items.values())
    for refused in VectorIndex(url, "RESULT_SINK").put([item for _, item in written]):
        failed[written[refused.place][0]] = refused.message
    if failed:
        raise NotStoredError(next(iter(failed.values())), sorted(failed))


def _name(result: dict[str, Any]) -> str:
    return str(result["answer"].get("id", result["message_id"]))


def _floats(vector: str | list[float]) -> list[float]:
    if isinstance(vector, list):
        return vector
    numbers = array("f")
    numbers.frombytes(base64.b64decode(vector))
    return numbers.tolist()
