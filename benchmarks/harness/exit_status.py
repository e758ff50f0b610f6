"""The exit status of a benchmark's command, and what it says when it fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

INTERRUPTED = 130


def exit_status(command: Callable[[], int], *failures: type[Exception]) -> int:
    """Returns what ``command`` returns; 1 after one of ``failures``, whose message goes to standard error."""
    try:
        return command()
    except failures as error:
        print(f"benchmark failed: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"benchmark failed: {error.cmd[-1]} could not be made", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
