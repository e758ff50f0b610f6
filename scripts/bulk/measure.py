"""Measures one child of a job, and computes a large job from it: ``python -m scripts.bulk.measure``.

``--models DIRECTORY`` takes a bundle that is there already, in place of the small model.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lambda_app.bulk import prices
from lambda_app.bulk.job import PART_BYTES
from scripts.bulk.corpus import WORDS
from scripts.bulk.local_stack import MEMORY_MB, function_environment, ministack
from scripts.dev.local_s3 import client
from scripts.local.embedded_bundle import ensure_bundle
from scripts.local.rie import Emulator

ROWS, WORDS_EACH = 1_000, 78
# The job that is computed.
JOB_ROWS, JOB_TOKENS = 1_000_000, 100_000_000
CHILDREN = (1, 10, 100, 1_000)
# The template's, less what is kept free for writing.
INVOCATION_SECONDS = 115.0


class Projection(NamedTuple):
    """What the job takes with so many children."""

    children: int
    rows_per_second: float
    seconds: float
    dollars: dict[str, float]


def project(tokens_per_second: float, row_bytes: float, children: int) -> Projection:
    """Computes the job from what one child does; ``row_bytes`` are those of a row of JSON lines."""
    seconds = JOB_TOKENS / tokens_per_second
    parts = -(-round(JOB_ROWS * row_bytes) // PART_BYTES)
    at_once = min(children, parts)
    invocations = parts * -(-round(seconds / parts) // round(INVOCATION_SECONDS))
    dollars = prices.cost(
        seconds=seconds,
        memory_mb=MEMORY_MB,
        machine="x86_64",
        invocations=invocations,
        parts=parts,
        blocks=parts,
    )
    # The parts are of one size, so the last round is as long as the others.
    rounds = -(-parts // at_once)
    elapsed = seconds / parts * rounds
    return Projection(children, JOB_ROWS / elapsed, elapsed, dict(dollars))


def main(arguments: Sequence[str] | None = None) -> None:
    """Embeds rows of some 93 tokens with one thread, and prints rows and tokens a second, and a large job."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bulk.measure", description=__doc__)
    parser.add_argument("--models", type=Path, help="a bundle")
    parser.add_argument("--rows", type=int, default=ROWS, help=f"default: {ROWS}")
    options = parser.parse_args(arguments)
    models = (options.models or ensure_bundle().directory).resolve()
    draw = random.Random(1)
    rows = [
        {"id": str(row), "text": " ".join(draw.choices(WORDS, k=WORDS_EACH))} for row in range(options.rows)
    ]
    content = "\n".join(map(json.dumps, rows)).encode()
    with ministack() as address:
        storage = client(address)
        for bucket in ("texts", "vectors"):
            storage.create_bucket(Bucket=bucket)
        storage.put_object(Bucket="texts", Key="a.jsonl", Body=content)
        with Emulator(function_environment(address, models)) as emulator:
            # Warm: weights are repacked by then.
            emulator.invoke({"action": "embed", "texts": [row["text"] for row in rows[:64]]})
            began = time.monotonic()
            found = emulator.invoke(
                {
                    "action": "embed_object",
                    "source": "s3://texts/a.jsonl",
                    "output": "s3://vectors/out",
                    "encoding": "base64",
                }
            )
            seconds = time.monotonic() - began
    speed = found["tokens"] / seconds
    print(f"{found['rows'] / seconds:,.1f} rows/s, {speed:,.0f} tokens/s")
    print(
        f"computed for {JOB_ROWS:,} rows of {JOB_TOKENS // JOB_ROWS} tokens, {prices.REGION} {prices.AS_OF}:"
    )
    row_bytes = len(content) / len(rows) * (JOB_TOKENS / JOB_ROWS) / (found["tokens"] / found["rows"])
    for children in CHILDREN:
        one = project(speed, row_bytes, children)
        shares = ", ".join(f"{name} ${value:.2f}" for name, value in one.dollars.items())
        print(
            f"{children:>6,} children  {one.rows_per_second:>9,.0f} rows/s  {one.seconds:>9,.0f} s  {shares}"
        )


if __name__ == "__main__":
    main()
