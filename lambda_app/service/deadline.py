"""Stops work between batches once the invocation's time has run out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambda_app.errors import DeadlineError

if TYPE_CHECKING:
    from lambda_app.models.inference import Checkpoint

# Time to write one number of a vector as JSON, for us and again for Lambda's runtime client.
SECONDS_PER_NUMBER = 2e-6
# Time to look up one token's text and to write it, in an object of its own.
SECONDS_PER_TOKEN = 1e-5


def checkpoint(deadline: float | None, total: int, *, query: bool = False) -> Checkpoint | None:
    """Returns a function to call between batches that raises DeadlineError once ``deadline`` has passed.

    None without a deadline. With ``query`` the batches hold the query, which does not count as an item.
    """
    if deadline is None:
        return None

    def check(done: int, seconds: float = 0.0) -> None:
        if time.monotonic() + seconds >= deadline:
            done = 0 if query else done
            raise DeadlineError(
                f"time ran out after {done} of {total} items: send fewer, or give the function more time",
                done=done,
                total=total,
            )

    return check


def before_writing(
    deadline: float | None, texts: int, dimensions: int, encodings: Sequence[str]
) -> float | None:
    """Returns the deadline less the time that it takes to write the vectors as JSON."""
    if deadline is None:
        return None
    numbers = texts * dimensions * sum(encoding != "base64" for encoding in encodings)
    return deadline - numbers * SECONDS_PER_NUMBER
