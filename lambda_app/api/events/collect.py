"""Collects the responses to many events of one invocation, inside its time and the limit of its response."""

from __future__ import annotations

import json
import time
from typing import Any

from lambda_app.api.events.direct import error_object
from lambda_app.api.response_size import size_bound
from lambda_app.errors import DeadlineError, ResponseTooLargeError
from lambda_app.invocation import Invocation

# Time to write one byte of a response, to measure it and again for Lambda's runtime client.
SECONDS_PER_BYTE = 2e-7


class Responses:
    """The responses so far, and what they take of the whole.

    That is computed, and written to be measured only where the computed does not fit. ``envelope`` is
    the size of what stands around them.
    """

    def __init__(self, invocation: Invocation, total: int, envelope: int) -> None:
        """Starts with nothing of ``total``."""
        self.all: list[dict[str, Any]] = []
        self._invocation = invocation
        self._total = total
        self._bytes = envelope
        # Upper bounds of the sizes of those that have not been written to be measured.
        self._bounds: list[int] = []

    @property
    def free_bytes(self) -> int:
        """The bytes that the next response may have, at least: more are found by :meth:`measure`."""
        return self._invocation.response_bytes - self._bytes

    @property
    def invocation(self) -> Invocation:
        """The invocation, less the time that it takes to write what there is."""
        deadline = self._invocation.deadline
        if deadline is None:
            return self._invocation
        return self._invocation._replace(deadline=deadline - self._bytes * SECONDS_PER_BYTE)

    def late(self) -> dict[str, Any] | None:
        """Returns the error of the next event where no time is left for it, which is then not looked at."""
        deadline = self.invocation.deadline
        if deadline is None or time.monotonic() < deadline:
            return None
        done = len(self.all)
        return error_object(
            DeadlineError(
                f"time ran out after {done} of {self._total} items: send fewer, or give the function more "
                "time",
                done=done,
                total=self._total,
            )
        )

    def add(self, response: dict[str, Any]) -> None:
        """Adds a response.

        Raises:
            ResponseTooLargeError: it does not fit beside the others.
        """
        self.all.append(response)
        # Two for what separates it from the next.
        self._bounds.append(size_bound(response) + 2)
        self._bytes += self._bounds[-1]
        limit = self._invocation.response_bytes
        # What separates stands between responses only.
        if self._bytes - 2 > limit:
            self.measure()
        if self._bytes - 2 > limit:
            raise self.full(len(self.all) - 1)

    def full(self, fit: int | None = None) -> ResponseTooLargeError:
        """Returns the error of all, with the number of events whose responses fit."""
        fit = max(1, len(self.all) if fit is None else fit)
        limit = self._invocation.response_bytes
        return ResponseTooLargeError(
            f"the answers to these {self._total} items pass {limit} bytes: send at most {fit} at a time, or "
            "ask for base64",
            fit=fit,
        )

    def measure(self) -> bool:
        """Puts sizes in the place of upper bounds; returns whether there were any.

        Each response is written once at most.
        """
        unmeasured = self.all[len(self.all) - len(self._bounds) :]
        self._bytes += sum(len(json.dumps(response)) + 2 for response in unmeasured) - sum(self._bounds)
        self._bounds.clear()
        return bool(unmeasured)
