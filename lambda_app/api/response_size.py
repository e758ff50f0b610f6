"""Measures a response, and refuses one that is larger than its caller can receive."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lambda_app.errors import ResponseTooLargeError

# Vectors of the same texts can differ in their last digits between batches, and so does their size in bytes:
# this share of a limit is kept free when the items that fit are counted.
SLACK = 0.002
# The fields of a response that hold one entry for each item.
ROWS = ("embeddings", "results", "answers")
# The fields whose size is computed; all others are written to be measured.
LARGE = frozenset({"embeddings", "answers", "body"})


def check_size(answer: Any, limit: int, items: int) -> None:
    """Checks that a response fits ``limit`` bytes, because Lambda ends the process over one that does not.

    It is written to be measured only where an upper bound of its size does not fit.

    Raises:
        ResponseTooLargeError: with the number of items that fit, of the ``items`` that were sent.
    """
    if size_bound(answer) <= limit:
        return
    size = len(json.dumps(answer))
    if size <= limit:
        return
    fit = _fitting(answer, size, int(limit * (1 - SLACK)), items)
    raise ResponseTooLargeError(
        f"the answer has {size} bytes, {limit} fit: send at most {fit} of these {items} items at a "
        f"time{', or ask for base64' if _has_floats(answer) else ''}",
        fit=fit,
        size=size,
    )


def size_bound(answer: Any) -> int:
    """Returns an upper bound of the response's size as JSON, without writing what may be large in it."""
    if isinstance(answer, list):
        return sum(size_bound(item) + 2 for item in answer) + 2
    size = len(json.dumps({name: value for name, value in answer.items() if name not in LARGE})) + 64
    if "body" in answer:
        # Every character of the body might be escaped, in the worst case to two surrogates of six bytes.
        size += len(answer["body"]) * (2 if answer["body"].isascii() else 12)
    if "answers" in answer:
        size += size_bound(answer["answers"])
    return size + sum(map(_vector_bound, answer.get("embeddings", ())))


def _vector_bound(vector: str | list[float] | None) -> int:
    """Returns an upper bound of a vector's size: base64, numbers with what separates them, or null."""
    if vector is None:
        return 6
    return len(vector) * (1 if isinstance(vector, str) else 26) + 4


def _fitting(answer: Any, size: int, limit: int, items: int) -> int:
    """Returns how many of the first items fit ``limit`` bytes, at least 1."""
    rows = _rows(answer)
    if len(rows) != items:
        return max(1, items * limit // size)
    weights = [len(json.dumps(row)) + 2 for row in rows]
    free = limit - (size - sum(weights))
    fit = 0
    for weight in weights:
        free -= weight
        if free < 0:
            break
        fit += 1
    return max(1, fit)


def _has_floats(answer: Any) -> bool:
    if isinstance(answer, dict) and "body" in answer:
        return '"embedding' in answer["body"][:1_000]
    return any(isinstance(row, list) for row in _rows(answer))


def _rows(answer: Any) -> list[Any]:
    if isinstance(answer, Mapping):
        return next((answer[name] for name in ROWS if name in answer), [])
    return list(answer)
