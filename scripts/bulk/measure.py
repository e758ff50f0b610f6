"""Measures one child of a job: ``python -m scripts.bulk.measure``."""

from __future__ import annotations

import json
import random
import time

from scripts.bulk.corpus import WORDS
from scripts.bulk.local_stack import function_environment, ministack
from scripts.dev.local_s3 import client
from scripts.local.embedded_bundle import ensure_bundle
from scripts.local.rie import Emulator

ROWS, WORDS_EACH = 1_000, 78


def main() -> None:
    """Embeds rows of some 93 tokens with one thread, and prints rows and tokens a second."""
    models = ensure_bundle().directory.resolve()
    draw = random.Random(1)
    rows = [{"id": str(row), "text": " ".join(draw.choices(WORDS, k=WORDS_EACH))} for row in range(ROWS)]
    with ministack() as address:
        storage = client(address)
        for bucket in ("texts", "vectors"):
            storage.create_bucket(Bucket=bucket)
        storage.put_object(Bucket="texts", Key="a.jsonl", Body="\n".join(map(json.dumps, rows)).encode())
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
    print(f"{found['rows'] / seconds:,.0f} rows/s, {found['tokens'] / seconds:,.0f} tokens/s")


if __name__ == "__main__":
    main()
