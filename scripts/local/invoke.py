"""Sends one event to the function and prints its response: ``python -m scripts.local.invoke EVENT.json``.

The real handler, in this process; no AWS, no Docker (``make invoke EVENT=events/direct-embed.json``). ``-``
reads the event from standard input. The response is the only thing on standard output.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.local.embedded_bundle import ensure_bundle, is_named
from scripts.local.in_process import invoke
from scripts.local.invocation_api import fault

USAGE = "usage: make invoke EVENT=events/direct-embed.json (a file that holds one event as JSON)"


class EventError(Exception):
    """There is no event; the message says why."""


def read_event(name: str) -> Any:
    """Returns the event in a file, or on standard input for ``-``.

    Raises:
        EventError: the file cannot be read or is not JSON.
    """
    if not name:
        raise EventError(USAGE)
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise EventError(f"cannot read {name}: {error.strerror}") from None
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EventError(f"{name} is not JSON: {error}") from None


def main(arguments: list[str]) -> int:
    """Prints the response as JSON; 1 when the function has raised, 2 when there is no event."""
    try:
        event = read_event(arguments[0] if len(arguments) == 1 else "")
    except EventError as error:
        print(f"error[event]: {error}", file=sys.stderr)
        return 2
    status = 0
    try:
        if not is_named():
            ensure_bundle()
        response = invoke(event)
    except subprocess.CalledProcessError as error:
        return error.returncode
    except Exception as error:
        response, status = fault(error, "local"), 1
    print(json.dumps(response, indent=2, ensure_ascii=False))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
