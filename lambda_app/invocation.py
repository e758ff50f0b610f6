"""One invocation: its identity, its deadline, and its lines in the log."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from lambda_app.coldstart.logs import JsonLog
from lambda_app.errors import LambdaAppError

# Left over for writing the answer: a deadline that is met with nothing to spare is a timeout.
MARGIN_SECONDS = 0.25
# API Gateway gives up on an integration after 29 or 30 seconds, whatever the function's own timeout is.
HTTP_SECONDS = 29.0


class Invocation(NamedTuple):
    """``deadline`` is on :func:`time.monotonic`'s clock, None where the caller gave no context."""

    request_id: str
    deadline: float | None
    log: JsonLog

    @classmethod
    def from_context(cls, context: Any, log: JsonLog) -> Invocation:
        """Reads Lambda's context object; anything else (a test's None) gives an invocation without a
        deadline."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        deadline = None
        if remaining is not None:
            deadline = time.monotonic() + remaining() / 1000 - MARGIN_SECONDS
        return cls(str(getattr(context, "aws_request_id", "")), deadline, log)

    def over_http(self) -> Invocation:
        """The same invocation behind a gateway that waits no longer than :data:`HTTP_SECONDS`."""
        limit = time.monotonic() + HTTP_SECONDS - MARGIN_SECONDS
        return self._replace(deadline=limit if self.deadline is None else min(self.deadline, limit))

    def log_fault(self, error: BaseException) -> None:
        """Logs what went wrong and where; a foreign exception's message stays out, for it may quote a
        caller's text."""
        import traceback

        frames = traceback.extract_tb(error.__traceback__)[-6:]
        self.log.error(
            "fault",
            request_id=self.request_id,
            type=type(error).__name__,
            code=getattr(error, "code", LambdaAppError.code),
            message=error.message if isinstance(error, LambdaAppError) else None,
            where=[f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames],
        )
