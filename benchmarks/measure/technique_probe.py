"""One start of the function with a technique taken away; prints one line of JSON with its figures.

``python -c "from benchmarks.measure.technique_probe import main; main(PATCHES)"``: before the handler is
imported, each of PATCHES sets an attribute of a module to the value of an expression.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Sequence
from typing import NamedTuple


class Patch(NamedTuple):
    """An attribute (``Class.name`` too) of a module, and the expression that it is set to."""

    module: str
    attribute: str
    value: str


class Context:
    """Lambda's context object, as far as the function reads it."""

    aws_request_id = "benchmark"

    def get_remaining_time_in_millis(self) -> int:
        """Returns what is left of a long timeout."""
        return 30_000


def apply(patches: Sequence[tuple[str, str, str]]) -> None:
    """Sets the attributes.

    Raises:
        AttributeError: one is not there: what the variant takes away has another name now.
    """
    for module, attribute, value in patches:
        owner: object = importlib.import_module(module)
        *outer, name = attribute.split(".")
        for part in outer:
            owner = getattr(owner, part)
        getattr(owner, name)
        setattr(owner, name, eval(value))


def main(patches: Sequence[tuple[str, str, str]], embed: object, rerank: object) -> None:
    """Starts the function and sends it both events.

    Args:
        patches: what to change before the start.
        embed: an embedding event.
        rerank: a rerank event.

    Raises:
        SystemExit: the function did not answer with 200.
    """
    apply(patches)
    import lambda_app.handler as module
    from lambda_app.coldstart.clock import process_started

    started = process_started()
    ready = time.monotonic() - started
    first = _seconds_until_response(module.handler, embed, started)
    _seconds_until_response(module.handler, rerank, started)
    figures_of_memory = memory()
    figures = {"ready": ready, "first embedding": first, "CPU": time.process_time()}
    print(
        json.dumps(
            figures | {"resident": figures_of_memory["Rss"], "anonymous": figures_of_memory["Anonymous"]}
        )
    )


def _seconds_until_response(handler: object, event: object, started: float) -> float:
    response = handler(event, Context())  # type: ignore[operator]
    if response["statusCode"] != 200:
        raise SystemExit(f"not a 200: {response}")
    return time.monotonic() - started


def memory() -> dict[str, float]:
    """Returns megabytes of this process by their names in smaps_rollup."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as stream:
        lines = [line.split() for line in stream]
    return {line[0].rstrip(":"): int(line[1]) / 1024 for line in lines if len(line) == 3}
