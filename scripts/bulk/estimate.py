"""Tells what a job will take, from a sample of its rows and one call of the function."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from lambda_app.bulk import prices, s3
from lambda_app.bulk.job import Job, read_job
from lambda_app.bulk.plan import objects_of, parts_of
from lambda_app.bulk.rows import Range, Row, is_divisible, kind_of, read_rows
from lambda_app.limits import Limits
from scripts.bulk.progress import duration
from scripts.bulk.run import JobError

SAMPLED_OBJECTS = 5
SAMPLED_BYTES = 256 * 1024
SAMPLED_ROWS = 256
# What reading and writing take beside embedding, of a small model whose rows are quick.
WRITING = 1.1


class Estimate(NamedTuple):
    """What a job will take."""

    objects: int
    bytes: int
    rows: int
    refused_share: float
    tokens: int
    parts: int
    function_seconds: float
    seconds: float
    dollars: Mapping[str, float]


def estimate(
    functions: Any,
    name: str,
    fields: Mapping[str, Any],
    *,
    memory_mb: int,
    architecture: str,
    concurrency: int,
) -> Estimate:
    """Samples the objects of a job, and has the function embed the sample, twice: the first call may be cold.

    Raises:
        JobError: there are no rows, or the function refuses the sample.
        RequestError: the fields are wrong, or S3 may not be read.
    """
    job = read_job({"action": "plan", **fields})
    found = [stored for stored in objects_of(job)[0] if stored.size]
    size = sum(stored.size for stored in found)
    texts, rows, refused, read = _sample(found, job)
    if not texts:
        raise JobError(f"no row of a sample of {len(found)} objects at {job.source} can be embedded")
    total = round(rows / read * size)
    tokens, seconds = _measure(functions, name, texts, job)
    every = total * (1 - refused / rows)
    parts = sum(len(parts_of(stored, job)) for stored in found)
    work = every * seconds * WRITING
    dollars = prices.cost(
        seconds=work, memory_mb=memory_mb, machine=architecture, invocations=parts, parts=parts, blocks=parts
    )
    return Estimate(
        objects=len(found),
        bytes=size,
        rows=total,
        refused_share=refused / rows,
        tokens=round(every * tokens),
        parts=parts,
        function_seconds=work,
        seconds=work / min(concurrency, parts),
        dollars=dollars,
    )


def lines(found: Estimate, concurrency: int) -> list[str]:
    """Returns the estimate for a terminal."""
    at_once = min(concurrency, found.parts)
    function = duration(found.function_seconds)
    return [
        f"objects   {found.objects:,} with {found.bytes / 1e6:,.1f} MB, {found.parts:,} parts",
        f"rows      about {found.rows:,} ({found.refused_share:.1%} of the sample would be refused)",
        f"tokens    about {found.tokens:,}",
        f"time      about {duration(found.seconds)} with {at_once} parts at once; {function} of the function",
        f"cost      about ${found.dollars['total']:.4f} (list prices of {prices.REGION}, {prices.AS_OF})",
    ]


def _sample(found: Sequence[s3.StoredObject], job: Job) -> tuple[list[str], int, int, float]:
    """Returns texts, rows and how many of them would be refused, and the bytes that they are of.

    An object of CSV or gzip is read to its end, since its bytes say nothing of its rows; one of Parquet says
    how many it has.
    """
    texts: list[str] = []
    rows = refused = 0
    read = 0.0
    step = max(1, len(found) // SAMPLED_OBJECTS)
    for stored in found[::step][:SAMPLED_OBJECTS]:
        kind, packed = kind_of(stored.place.key, job.input_format)
        if kind is None:
            continue
        end = min(stored.size, SAMPLED_BYTES) if is_divisible(kind, packed=packed) else stored.size
        where = Range(0, end, aligned=True)
        found_rows = read_rows(stored, kind, job, Limits(), packed=packed, where=where, skip=0)
        if kind == "parquet":
            from lambda_app.bulk.parquet_read import row_count

            found_rows = islice(found_rows, SAMPLED_ROWS)
            read += stored.size * min(1.0, SAMPLED_ROWS / max(1, row_count(stored)))
        else:
            read += end
        for row in found_rows:
            if isinstance(row, Row):
                rows += 1
                refused += row.error is not None
                texts += [row.text] if row.error is None and len(texts) < SAMPLED_ROWS else []
    return texts, rows, refused, read


def _measure(functions: Any, name: str, texts: Sequence[str], job: Job) -> tuple[float, float]:
    """Returns tokens and seconds of one row."""
    event = {"action": "embed", "texts": list(texts), "input_type": job.input_type, "encoding": "base64"}
    seconds = 0.0
    response: dict[str, Any] = {}
    for _ in range(2):
        began = time.monotonic()
        answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
        response = json.loads(answer["Payload"].read())
        seconds = time.monotonic() - began
        if "error" in response or "errorMessage" in response:
            error = response.get("error", {"message": response.get("errorMessage")})
            raise JobError(f"the function refuses the sample: {error['message']}")
    return response["usage"]["tokens"] / len(texts), seconds / len(texts)
