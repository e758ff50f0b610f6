"""What the build says while it works: one line per step with its seconds, kept up to date on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

_REFRESH_SECONDS = 0.5
_WIDTH = 44


class Progress:
    """Prints steps and remembers how long each took, in ``seconds`` by name."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Writes to standard error where no stream is given."""
        self._stream = sys.stderr if stream is None else stream
        self._live = self._stream.isatty()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """One step. On a terminal its line counts the seconds; elsewhere it comes when the step is done."""
        began = time.monotonic()
        done = threading.Event()
        ticker = (
            threading.Thread(target=self._tick, args=(name, began, done), daemon=True) if self._live else None
        )
        if ticker:
            ticker.start()
        ok = False
        try:
            yield
            ok = True
        finally:
            self.seconds[name] = time.monotonic() - began
            done.set()
            if ticker:
                ticker.join()
            self._write(f"{_line(name, self.seconds[name])}{'' if ok else '  failed'}\n")

    def note(self, text: str) -> None:
        """A line of its own."""
        self._write(f"  {text}\n")

    def _tick(self, name: str, began: float, done: threading.Event) -> None:
        while not done.wait(_REFRESH_SECONDS):
            self._write(_line(name, time.monotonic() - began) + " ...")

    def _write(self, text: str) -> None:
        # \r and "erase to the end of the line" overwrite what the ticker left.
        self._stream.write(f"\r\x1b[K{text}" if self._live else text)
        self._stream.flush()


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns under a heading, the first column to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if not column else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(line.rstrip() for line in lines)


def megabytes(count: int) -> str:
    """Bytes for reading: ``23.5 MB``, ``28.3 kB``."""
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"


def _line(name: str, seconds: float) -> str:
    return f"  {name:<{_WIDTH}}{seconds:7.1f} s"
