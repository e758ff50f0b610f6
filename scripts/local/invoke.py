"""Sends one event to the function and prints its response: ``python -m scripts.local.invoke EVENT.json``.

The real handler, in this process; no AWS, no Docker (``make invoke EVENT=events/direct-embed.json``). ``-``
reads the event from standard input. The response is the only thing on standard output: JSON, with each list
of numbers on one line.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from scripts.local.embedded_bundle import current_bundle, ensure_bundle, is_named
from scripts.local.in_process import invoke
from scripts.local.invocation_api import fault

USAGE = "usage: make invoke EVENT=events/direct-embed.json (a file that holds one event as JSON)"


# What ``indent`` spreads over a line for each number. Inside a string a line end is escaped.
NUMBERS = re.compile(r"\[\n\s*(-?\d[-+.\deE]*(?:,\n\s*-?\d[-+.\deE]*)*)\n\s*\]")


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


def printed(response: Any) -> str:
    """Returns the response as JSON for a terminal, with each list of numbers on one line."""
    text = json.dumps(response, indent=2, ensure_ascii=False)
    return NUMBERS.sub(lambda found: f"[{re.sub(chr(10) + ' *', ' ', found[1])}]", text)


def main(arguments: list[str]) -> int:
    """Prints the response as JSON; 1 when the function has raised, 2 when there is no event."""
    name = arguments[0] if len(arguments) == 1 else ""
    status = 0
    try:
        if name != "-":
            read_event(name)  # a wrong event is refused before anything is built
        if not is_named() and current_bundle() is None:
            ensure_bundle()
            # A process of its own: the cold start that it logs would contain the build otherwise.
            again = [sys.executable, "-m", "scripts.local.invoke", name]
            return subprocess.run(again, check=False).returncode
        response = invoke(read_event(name))
    except EventError as error:
        print(f"error[event]: {error}", file=sys.stderr)
        return 2
    except subprocess.CalledProcessError as error:
        return error.returncode
    except Exception as error:
        response, status = fault(error, "local"), 1
    print(printed(response))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
