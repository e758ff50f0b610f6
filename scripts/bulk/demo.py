"""Jobs over S3 on this machine: rows through the state machine of template.yaml (``make bulk-demo``)."""

from __future__ import annotations

import os
import time

from scripts.bulk.corpus import corpus
from scripts.bulk.estimate import estimate, lines
from scripts.bulk.local_stack import MEMORY_MB, local_stack
from scripts.bulk.run import run, summary_lines
from scripts.local.embedded_bundle import ensure_bundle

IN, OUT = "texts", "vectors"
CONCURRENCY = 8
MACHINE = os.uname().machine


def demo(rows: int) -> int:
    """Uploads a corpus, tells what it will take, embeds it, and shows what came of it."""
    bundle = ensure_bundle()
    emulators = min(4, os.cpu_count() or 1)
    began = time.monotonic()
    with local_stack(bundle.directory.resolve(), emulators=emulators, concurrency=CONCURRENCY) as stack:
        os.environ |= stack.environment
        print(f"MiniStack, and {emulators} functions under the Runtime Interface Emulator, one thread each")
        storage = stack.client("s3")
        for bucket in (IN, OUT):
            storage.create_bucket(Bucket=bucket)
        made = corpus(rows)
        for key, content in made.objects.items():
            storage.put_object(Bucket=IN, Key=f"corpus/{key}", Body=content)
        size = sum(map(len, made.objects.values()))
        print(f"{len(made.objects)} objects with {len(made.rows):,} rows, {size / 1e6:.1f} MB\n\nestimate")
        fields = {
            "source": f"s3://{IN}/corpus",
            "output": f"s3://{OUT}/run-1",
            "encoding": "base64",
            "part_bytes": 128 * 1024,
            "tolerated_failure_percentage": 1,
        }
        estimated = estimate(
            stack.client("lambda"),
            "pipeline",
            fields,
            memory_mb=MEMORY_MB,
            architecture=MACHINE,
            concurrency=emulators,
        )
        print("\n".join(lines(estimated, emulators)))
        print("\nrun")
        summary = run(
            stack.client("stepfunctions"), stack.machine, fields, memory_mb=MEMORY_MB, architecture=MACHINE
        )
        print("\n".join(summary_lines(summary)))
        expected = len(made.rows), sum(map(len, made.bad.values()))
        found = summary["rows"]["out"], summary["rows"]["refused"]
        print(f"\n{time.monotonic() - began:.0f} s altogether")
    if found != expected:
        print(f"expected {expected} rows out and refused, found {found}")
        return 1
    return 0
