"""Structured log lines: one JSON object a line on standard output, where Lambda's JSON logging picks them up.

Lines carry counts, times and codes; never a caller's text.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from lambda_app.settings import LOG_LEVELS


class JsonLog:
    """Writes records at or above ``level``."""

    def __init__(self, level: int) -> None:
        self._level = level

    def info(self, event: str, **fields: Any) -> None:
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        self._write("ERROR", event, fields)

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LOG_LEVELS[level] < self._level:
            return
        line = json.dumps({"level": level, "event": event, **fields}, ensure_ascii=True, default=str)
        # One write a line: awslambdaric's own writer and ours share the stream.
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
