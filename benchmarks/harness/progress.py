"""One line that says how far a run is."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_WIDTH = 30


class Progress:
    """A bar on a terminal; elsewhere a line every tenth of the way."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self._total = max(1, total)
        self._stream = stream
        self._done = 0
        self._shown = -1
        self._started = time.monotonic()

    def begin(self, what: str) -> None:
        """Says what is being measured now."""
        if self._stream.isatty():
            filled = _WIDTH * self._done // self._total
            bar = "█" * filled + "░" * (_WIDTH - filled)
            line = f"\r{bar} {self._done}/{self._total} {self._left()} {what}"
            print(f"{line:100.100}", end="", file=self._stream, flush=True)
        elif self._done * 10 // self._total > self._shown:
            self._shown = self._done * 10 // self._total
            print(f"{self._done}/{self._total} {self._left()} {what}", file=self._stream, flush=True)

    def advance(self) -> None:
        """One more is done."""
        self._done += 1

    def end(self) -> None:
        """Clears the line."""
        if self._stream.isatty():
            print(f"\r{'':100}\r", end="", file=self._stream, flush=True)

    def _left(self) -> str:
        if not self._done:
            return "     "
        seconds = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"{int(seconds) // 60:2}:{int(seconds) % 60:02} left"
