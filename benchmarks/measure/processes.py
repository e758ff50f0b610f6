"""Memory of several processes of one environment, as Lambda Managed Instances run them.

``python -m benchmarks.measure.processes 4``: that many processes are forked as awslambdaric forks them, each
imports the handler over the bundle of MODEL_DIR and embeds; then each process's memory is read. Proportional
set size counts a page that n processes map as one nth in each, so that the sum is what all take together.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.measure.technique_probe import memory

TEXTS = ["The treaty was signed in 1648.", "Yellow fever is transmitted by mosquitoes."] * 16


def shares() -> dict[str, float]:
    """Returns megabytes of this process: resident, its share of them, and what is its own alone."""
    sizes = memory()
    private = sizes["Private_Clean"] + sizes["Private_Dirty"]
    return {"resident": sizes["Rss"], "proportional": sizes["Pss"], "private": private}


def serve(pipe: Connection, event: Mapping[str, Any]) -> None:
    """Answers an event, waits for the others to have done so, and sends this process's memory."""
    sys.stdout = sys.stderr
    from lambda_app.handler import handler

    response = handler(event, None)
    pipe.send(sorted(response))
    pipe.recv()
    pipe.send(shares())
    pipe.recv()


def measure(processes: int) -> list[dict[str, float]]:
    """Returns the memory of each process while all of them are there."""
    os.environ["AWS_LAMBDA_MAX_CONCURRENCY"] = str(processes)
    # What the parent has imported before it forks.
    import awslambdaric.bootstrap  # noqa: F401

    context = multiprocessing.get_context("fork")
    pipes = []
    for _ in range(processes):
        ours, theirs = context.Pipe()
        context.Process(target=serve, args=(theirs, {"action": "embed", "texts": TEXTS}), daemon=True).start()
        pipes.append(ours)
    for pipe in pipes:
        if "embeddings" not in pipe.recv():
            raise SystemExit("error: a process did not embed")
    for pipe in pipes:
        pipe.send(None)
    return [pipe.recv() for pipe in pipes]


def main(arguments: list[str]) -> None:
    """Prints the memory of all processes as JSON."""
    found = measure(int(arguments[0]) if arguments else 4)
    total = {name: round(sum(each[name] for each in found), 1) for name in found[0]}
    print(json.dumps({"processes": len(found), "megabytes": total, "each": found}))


if __name__ == "__main__":
    main(sys.argv[1:])
