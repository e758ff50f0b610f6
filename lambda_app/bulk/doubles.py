"""Finds ids that several rows of a job have: in an index their vectors would overwrite each other.

Every receipt has a hash of each of its ids. They are compared without holding all of a large corpus: each
pass over the receipts takes its share of the hashes, and there are as many passes as memory needs.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from lambda_app.bulk.job import Job
from lambda_app.bulk.layout import Part, Receipt
from lambda_app.bulk.rows import Row, is_divisible, read_part
from lambda_app.errors import RequestError
from lambda_app.limits import Limits

# Of a billion rows two are alike by chance in one of two million jobs.
DIGEST_BYTES = 10
DIGEST = np.dtype(f"S{DIGEST_BYTES}")
# Digests that are compared at once, for each megabyte of the function: less than a tenth of its memory.
DIGESTS_PER_MB = 8_192
MIN_DIGESTS = 1_000_000
# Ids that are named, which takes reading their rows again.
NAMED = 10


def digest(name: str) -> bytes:
    """Returns the hash of an id."""
    return hashlib.blake2b(name.encode(), digest_size=DIGEST_BYTES).digest()


def packed(digests: Iterable[bytes]) -> str:
    """Returns digests as a receipt holds them."""
    return base64.b64encode(b"".join(digests)).decode("ascii")


def shares_of(receipts_bytes: int, memory_mb: int) -> int:
    """Returns how many passes compare the ids of receipts of so many bytes."""
    digests = receipts_bytes * 3 // 4 // DIGEST_BYTES
    return 1 + digests // max(MIN_DIGESTS, memory_mb * DIGESTS_PER_MB)


class Share:
    """The digests of one pass."""

    def __init__(self, number: int, shares: int) -> None:
        self._number = number
        self._shares = shares
        self._found: list[np.ndarray] = []

    def add(self, ids: str) -> None:
        """Takes those digests of a receipt that belong to this share."""
        digests = _digests(ids)
        if self._shares > 1:
            numbers = digests.view(np.uint8).reshape(-1, DIGEST_BYTES)[:, :4].copy().view("<u4")[:, 0]
            digests = digests[numbers % self._shares == self._number]
        self._found.append(digests)

    def doubles(self) -> tuple[int, list[bytes]]:
        """Returns how many rows have the id of a row before them, and the digests of the first such ids."""
        if not self._found:
            return 0, []
        digests = np.concatenate(self._found)
        self._found = []
        digests.sort()
        same = digests[1:][digests[1:] == digests[:-1]]
        # numpy.unique needs masked arrays, which the image does not have. An id may be there very often.
        first = same[np.append(True, same[1:] != same[:-1])[: len(same)]][:NAMED]
        # numpy leaves out zeros at the end.
        return len(same), [bytes(one).ljust(DIGEST_BYTES, b"\0") for one in first]


class Doubles(NamedTuple):
    """How many rows have the id of another, and digests of the first such ids."""

    rows: int
    digests: list[bytes]


def find(first: Share, shares: int, receipts: Callable[[], Iterator[Receipt]]) -> Doubles:
    """Returns the doubles among all receipts, of which ``first`` has the digests of the first share."""
    rows, digests = first.doubles()
    for number in range(1, shares):
        share = Share(number, shares)
        for receipt in receipts():
            share.add(receipt.ids)
        more, others = share.doubles()
        rows, digests = rows + more, digests + others
    return Doubles(rows, digests[:NAMED])


def places(
    job: Job,
    limits: Limits,
    found: Doubles,
    receipts: Iterable[Receipt],
    parts: Mapping[str, Part],
    lines_before: Mapping[str, int],
    deadline: float | None,
) -> list[dict[str, Any]]:
    """Returns where rows of the first doubled ids are, by reading the rows of their receipts again.

    Objects that can no longer be read are left out, and what there is no time for.
    """
    wanted = frozenset(found.digests)
    before: dict[tuple[str, int], int] = {}
    entries: list[dict[str, Any]] = []
    some: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        before[receipt.part, receipt.segment] = receipt.lines
        digests = _digests(receipt.ids)
        if any((digests == one).any() for one in found.digests):
            some.setdefault(receipt.part, []).append(receipt)
    for number in sorted(some):
        for receipt in sorted(some[number], key=lambda one: one.segment):
            origin = lines_before.get(number, 0)
            origin += sum(before[number, segment] for segment in range(receipt.segment))
            try:
                entries += _rows(job, limits, wanted, receipt, parts[number], origin, deadline)
            except RequestError:
                continue
    return sorted(entries, key=lambda entry: str(entry["id"]))


def _rows(
    job: Job,
    limits: Limits,
    wanted: frozenset[bytes],
    receipt: Receipt,
    part: Part,
    origin: int,
    deadline: float | None,
) -> list[dict[str, Any]]:
    divisible = is_divisible(part.kind, packed=part.packed)
    entries = []
    for row in read_part(part, receipt.begin, job, limits):
        if deadline is not None and time.monotonic() > deadline:
            break
        if not isinstance(row, Row):
            continue
        if row.position >= receipt.stop:
            break
        if row.error is None and digest(row.id) in wanted:
            line = origin + row.line if divisible and row.line is not None else row.line
            where = {"line": line, "offset" if divisible else "row": row.position}
            entries.append({"id": row.id, "object": part.object, **where})
    return entries


def _digests(ids: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(ids), dtype=DIGEST)
