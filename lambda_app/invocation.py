"""One record for each invocation: its identity, its limits, what it used, and its log."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from lambda_app.coldstart.logs import JsonLog
from lambda_app.errors import LambdaAppError
from lambda_app.limits import LAMBDA_RESPONSE_BYTES

# Kept free for writing the response: a deadline that is met with nothing to spare is a timeout.
MARGIN_SECONDS = 0.25


class Usage:
    """What an invocation has done so far, for its log line. The only part that changes.

    ``code`` is that of the error of an HTTP response. ``ignored_fields`` are names of fields that the request
    has and its route does not, as ``api/parsing/unknown.py`` writes them.
    """

    __slots__ = ("code", "ignored_fields", "items", "tokens")

    def __init__(self) -> None:
        """Starts at nothing done."""
        self.items = 0
        self.tokens = 0
        self.code: str | None = None
        self.ignored_fields: tuple[str, ...] = ()

    def add(self, items: int, tokens: int) -> None:
        """Adds the items and tokens of one finished call."""
        self.items += items
        self.tokens += tokens


class Result(NamedTuple):
    """What an event source gives back: the response for the caller, and its outcome for the log line."""

    response: Any
    outcome: str = "ok"


class Invocation(NamedTuple):
    """What each endpoint is given beside the service and the payload.

    ``deadline`` is on :func:`time.monotonic`'s clock, None without a context; ``response_bytes`` is the
    largest response, with its envelope, that the caller can receive. ``refuses_unknown`` says whether fields
    that a route does not have are refused; they are ignored and named otherwise.
    """

    request_id: str
    deadline: float | None
    response_bytes: int
    usage: Usage
    log: JsonLog
    refuses_unknown: bool = False

    @classmethod
    def from_context(
        cls, context: Any, log: JsonLog, response_bytes: int = LAMBDA_RESPONSE_BYTES
    ) -> Invocation:
        """Reads Lambda's context object; any other object (a test's None) gives no deadline."""
        remaining = getattr(context, "get_remaining_time_in_millis", None)
        deadline = None
        if remaining is not None:
            deadline = time.monotonic() + remaining() / 1000 - MARGIN_SECONDS
        request_id = str(getattr(context, "aws_request_id", ""))
        return cls(request_id, deadline, response_bytes, Usage(), log)

    def with_timeout(self, seconds: float) -> Invocation:
        """Returns the same invocation for a caller that waits at most ``seconds`` from now."""
        limit = time.monotonic() + seconds - MARGIN_SECONDS
        return self._replace(deadline=limit if self.deadline is None else min(self.deadline, limit))

    def with_response_limit(self, limit: int | None) -> Invocation:
        """Returns the same invocation for a caller that takes at most ``limit`` bytes, if that is less."""
        if limit is None or limit >= self.response_bytes:
            return self
        return self._replace(response_bytes=limit)

    def headers(self) -> dict[str, str]:
        """Returns the headers that every response of an API has over HTTP."""
        ignored = self.usage.ignored_fields
        return {"x-request-id": self.request_id} | (
            {"x-ignored-fields": ", ".join(ignored)} if ignored else {}
        )

    def log_fault(self, error: BaseException) -> None:
        """Logs an error's type and place, without a foreign message, which may quote a caller's text."""
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
