"""What came of a job, as ``manifest.json`` says it: counts, tokens, seconds, cost, and files."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

from lambda_app.bulk import prices, s3
from lambda_app.bulk.job import Job
from lambda_app.bulk.layout import Part, Receipt
from lambda_app.service.service import Service

VERSION = 1
# Outside of Lambda.
DEFAULT_MEMORY_MB = 1_769


def manifest(
    service: Service, job: Job, plan: Sequence[Part], receipts: Mapping[str, list[Receipt]]
) -> dict[str, Any]:
    """Returns the manifest of a job."""
    made = [receipt for part in plan for receipt in receipts.get(part.part, ())]
    seconds = sum(receipt.seconds for receipt in made)
    memory = service.registry.settings.memory_mb or DEFAULT_MEMORY_MB
    machine = platform.machine()
    blocks = sum(-(-(part.end - part.start) // s3.BLOCK_BYTES) for part in plan)
    dollars = prices.cost(
        seconds=seconds,
        memory_mb=memory,
        machine=machine,
        invocations=len(made),
        parts=len(plan),
        blocks=blocks,
    )
    first = made[0] if made else None
    return {
        "version": VERSION,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "source": str(job.source),
        "output": job.output,
        "model": first and first.model,
        "fingerprint": first and first.fingerprint,
        "dimensions": first and first.dimensions,
        "rows": {
            "in": sum(receipt.rows for receipt in made),
            "out": sum(receipt.served for receipt in made),
            "refused": sum(receipt.refused for receipt in made),
        },
        "vectors": sum(receipt.vectors for receipt in made),
        "tokens": sum(receipt.tokens for receipt in made),
        "truncated": sum(receipt.truncated for receipt in made),
        "seconds": round(seconds, 3),
        "cost": {
            **dollars,
            "currency": "USD",
            "prices": f"list prices of {prices.REGION}, {prices.AS_OF}",
            "memory_mb": memory,
            "machine": machine,
        },
        "job": job.digest,
        "parts": [
            {
                "key": receipt.file and job.work.below(receipt.file).key,
                "sha256": receipt.sha256,
                "bytes": receipt.size,
                "rows": receipt.served,
                "vectors": receipt.vectors,
                "object": receipt.object,
                "begin": receipt.begin,
                "stop": receipt.stop,
            }
            for receipt in made
        ],
        "errors": [
            {"key": job.work.below(receipt.errors).key, "rows": receipt.refused}
            for receipt in made
            if receipt.errors is not None
        ],
    }
