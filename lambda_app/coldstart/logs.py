"""Structured log lines: one JSON object a line on standard output, where Lambda's JSON logging picks them up.

Lines carry counts, times and codes; never a caller's text.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

from lambda_app.settings import LOG_LEVELS


class JsonLog:
    """Writes records at or above ``level``; ``common`` fields stand in each of them."""

    def __init__(self, level: int, common: Mapping[str, Any] | None = None) -> None:
        self._level = level
        self._common = dict(common or {})

    def info(self, event: str, **fields: Any) -> None:
        """Writes a line of level INFO, unless the log level is above it."""
        self._write("INFO", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Writes a line of level WARNING, unless the log level is above it."""
        self._write("WARNING", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Writes a line of level ERROR, unless the log level is above it."""
        self._write("ERROR", event, fields)

    def metric(
        self,
        event: str,
        namespace: str,
        metric: tuple[str, str, float],
        dimensions: Mapping[str, str],
        **fields: Any,
    ) -> None:
        """Writes a record that CloudWatch makes a metric of, whatever the log level.

        ``metric`` is (name, unit, value). A dashboard would go blank at a higher level otherwise.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
        """
        name, unit, value = metric
        directive = {
            "Namespace": namespace,
            "Dimensions": [list(dimensions)],
            "Metrics": [{"Name": name, "Unit": unit}],
        }
        embedded = {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive]}
        record = {"level": "INFO", "event": event, **self._common, **fields, **dimensions, name: value}
        _write_line({**record, "_aws": embedded})

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LOG_LEVELS[level] < self._level:
            return
        _write_line({"level": level, "event": event, **self._common, **fields})


def _write_line(record: Mapping[str, Any]) -> None:
    # One write a line: awslambdaric's own writer and ours share the stream.
    sys.stdout.write(json.dumps(record, ensure_ascii=True, default=str) + "\n")
    sys.stdout.flush()
