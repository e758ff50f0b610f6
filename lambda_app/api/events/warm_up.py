"""Warm-up events of EventBridge schedules and of serverless-plugin-warmup."""

from __future__ import annotations

from typing import Any

from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service

SOURCES = frozenset({"aws.events", "aws.scheduler", "serverless-plugin-warmup"})


def matches(event: Any) -> bool:
    """Whether an event only keeps the function warm."""
    source = event.get("source") if isinstance(event, dict) and "action" not in event else None
    return isinstance(source, str) and source in SOURCES


def answer(service: Service, event: Any, invocation: Invocation) -> Result:
    """Answers without touching a model."""
    return Result({"ok": True})
