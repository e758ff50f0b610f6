"""What a job costs, from AWS's list prices of us-east-1 as they were known in November 2026, in dollars.

docs/BULK.md says which of the pages below were seen, and which prices others quoted from them.
"""

from __future__ import annotations

from collections.abc import Mapping

AS_OF = "2026-11"
REGION = "us-east-1"
# https://aws.amazon.com/lambda/pricing/
GIGABYTE_SECOND = {"x86_64": 0.0000166667, "aarch64": 0.0000133334}
INVOCATION = 0.20 / 1_000_000
# https://aws.amazon.com/step-functions/pricing/ (Standard workflows)
TRANSITION = 0.025 / 1_000
# https://aws.amazon.com/s3/pricing/
PUT = 0.005 / 1_000
GET = 0.0004 / 1_000

# Of the state machine in template.yaml: for a job, for each part, and for each time that a part goes on.
JOB_TRANSITIONS = 9
PART_TRANSITIONS = 4
REPEAT_TRANSITIONS = 3
# One listing before a part is written; then a file, its receipt, and at most its errors.
PART_PUTS = 6


def cost(
    *, seconds: float, memory_mb: int, machine: str, invocations: int, parts: int, blocks: int
) -> Mapping[str, float]:
    """Returns dollars by service.

    ``seconds`` are those of all invocations together, ``blocks`` the requests that read objects.
    """
    rate = GIGABYTE_SECOND.get(machine, GIGABYTE_SECOND["x86_64"])
    repeats = max(0, invocations - parts)
    transitions = JOB_TRANSITIONS + parts * PART_TRANSITIONS + repeats * REPEAT_TRANSITIONS
    dollars = {
        "lambda": seconds * memory_mb / 1024 * rate + invocations * INVOCATION,
        "step_functions": transitions * TRANSITION,
        "s3": parts * PART_PUTS * PUT + (blocks + 2 * parts) * GET,
    }
    return {name: round(value, 6) for name, value in {**dollars, "total": sum(dollars.values())}.items()}
