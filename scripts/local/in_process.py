"""The handler in this process, for where there is no emulator around it."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lambda_app.errors import BundleError, ConfigurationError

Handler = Callable[[Any, Any], Any]
TIMEOUT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class LocalContext:
    """What Lambda hands to a handler beside the event; made anew for each invocation.

    https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
    """

    function_name: str = "local"
    function_version: str = "$LATEST"
    invoked_function_arn: str = "arn:aws:lambda:us-east-1:012345678912:function:local"
    memory_limit_in_mb: str = "3008"
    aws_request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    deadline: float = field(default_factory=lambda: time.monotonic() + TIMEOUT_SECONDS)

    def get_remaining_time_in_millis(self) -> int:
        """Returns the milliseconds until the deadline."""
        return max(0, int((self.deadline - time.monotonic()) * 1000))


def invoke(event: Any) -> Any:
    """Returns the function's response to an event, both as JSON values.

    The same in a line of Python, in a clone::

        .venv/bin/python -c 'from scripts.local.in_process import invoke; print(invoke({"action": "ping"}))'

    The function's log goes to standard error.

    Raises:
        SystemExit: with the reason, when the function cannot start.
        Exception: what the handler raised; Lambda would answer with its type and message.
    """
    with contextlib.redirect_stdout(sys.stderr):
        return open_handler()(event, LocalContext())


def open_handler() -> Handler:
    """Imports the handler, which opens the bundle.

    Raises:
        SystemExit: with the reason, when the function cannot start.
    """
    try:
        from lambda_app.handler import handler
    except (BundleError, ConfigurationError) as error:
        raise SystemExit(f"error[{error.code}]: {error.message}") from None
    return handler
