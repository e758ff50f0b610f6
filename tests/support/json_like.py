"""Compares a response with the response that a page shows."""

from __future__ import annotations

from typing import Any

import pytest

# Kernels of other CPUs round in other places.
TOLERANCE = 0.005


def assert_like(found: Any, shown: Any) -> None:
    """Asserts equality, except for the last digits of numbers and for what "..." replaces."""
    if isinstance(shown, dict):
        assert found.keys() == shown.keys()
        for name, value in shown.items():
            assert_like(found[name], value)
    elif isinstance(shown, list):
        shortened = bool(shown) and shown[-1] == "..."
        assert len(found) > len(shown) if shortened else len(found) == len(shown)
        for left, right in zip(found, shown[:-1] if shortened else shown, strict=not shortened):
            assert_like(left, right)
    elif shown == "...":
        assert isinstance(found, str)
    elif isinstance(shown, float):
        assert found == pytest.approx(shown, abs=TOLERANCE)
    else:
        assert found == shown
