"""Reads values of records that other services write, of which nothing is certain."""

from __future__ import annotations

from typing import Any

from lambda_app.text import encodable


def get(value: Any, name: str) -> Any:
    """Returns a field of an object; None where it is absent, or the value is not an object."""
    return value.get(name) if isinstance(value, dict) else None


def word(value: Any, name: str) -> str:
    """Returns a field that is a string and can be sent back; an empty string otherwise."""
    found = get(value, name)
    return found if isinstance(found, str) and encodable(found) else ""
