"""How far a job is, read from the receipts that its parts leave in S3."""

from __future__ import annotations

import sys
import time
from typing import IO, NamedTuple

from lambda_app.bulk import prices, s3
from lambda_app.bulk.aws import Location
from lambda_app.bulk.layout import RECEIPTS, receipt_of

WIDTH = 24
# Where nobody looks at a terminal, a line now and then.
LINE_SECONDS = 10.0


class State(NamedTuple):
    """What is done so far; ``share`` is that of all bytes, None while it is not known."""

    rows: int
    refused: int
    seconds: float
    share: float | None
    dollars: float


class Progress:
    """Reads receipts as they appear, and shows a bar with rows, rows a second, time left and cost."""

    def __init__(self, work: Location, *, total_bytes: int | None, memory_mb: int, machine: str) -> None:
        self._work = work
        self._total = total_bytes
        self._memory = memory_mb
        self._machine = machine
        self._seen: set[str] = set()
        self._rows = self._refused = self._bytes = self._files = 0
        self._lambda_seconds = 0.0
        self._parts: set[str] = set()
        self._began = time.monotonic()
        self._shown = 0.0

    def update(self) -> State:
        """Reads the receipts that are new."""
        for stored in s3.list_objects(self._work.below(RECEIPTS)):
            if stored.place.key in self._seen:
                continue
            self._seen.add(stored.place.key)
            receipt = receipt_of(s3.read(stored.place))
            if receipt is None:
                continue
            self._files += 1
            self._parts.add(receipt.part)
            self._rows += receipt.rows
            self._refused += receipt.refused
            self._lambda_seconds += receipt.seconds
            # Of an object that is not divided, rows say nothing of bytes: it counts when it is done.
            divided = receipt.stop <= receipt.end and receipt.stop - receipt.begin > receipt.rows
            whole = receipt.end - receipt.start if receipt.done else 0
            self._bytes += receipt.stop - receipt.begin if divided else whole
        dollars = prices.cost(
            seconds=self._lambda_seconds,
            memory_mb=self._memory,
            machine=self._machine,
            invocations=self._files,
            parts=len(self._parts),
            blocks=len(self._parts),
        )
        share = min(1.0, self._bytes / self._total) if self._total else None
        elapsed = time.monotonic() - self._began
        return State(self._rows, self._refused, elapsed, share, dollars["total"])

    def show(self, state: State, stream: IO[str] = sys.stderr) -> None:
        """Writes the bar: over itself on a terminal, elsewhere as a line every ten seconds."""
        if stream.isatty():
            stream.write(f"\r\x1b[K{bar(state)}")
            stream.flush()
        elif time.monotonic() - self._shown >= LINE_SECONDS:
            self._shown = time.monotonic()
            print(bar(state), file=stream, flush=True)

    def end(self, stream: IO[str] = sys.stderr) -> None:
        """Leaves the bar as it is."""
        if stream.isatty():
            stream.write("\n")


def bar(state: State) -> str:
    """Returns the line that shows how far a job is."""
    rate = state.rows / state.seconds if state.seconds else 0.0
    share = state.share or 0.0
    filled = int(share * WIDTH)
    left = "?"
    if share:
        left = duration(state.seconds / share - state.seconds)
    refused = f", {state.refused:,} refused" if state.refused else ""
    return (
        f"[{'#' * filled}{'.' * (WIDTH - filled)}] {share:4.0%}  {state.rows:,} rows{refused}  "
        f"{rate:,.0f} rows/s  {left} left  ${state.dollars:.4f}"
    )


def duration(seconds: float) -> str:
    """Returns seconds as a person would say them."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
