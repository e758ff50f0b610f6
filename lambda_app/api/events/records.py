"""Reads values of records that other services write, of which nothing is certain."""

from __future__ import annotations

from typing import Any

from lambda_app.errors import FieldError
from lambda_app.text import encodable

# The longest name that a caller may give to an item.
ID_CHARACTERS = 256


def get(value: Any, name: str) -> Any:
    """Returns a field of an object; None where it is absent, or the value is not an object."""
    return value.get(name) if isinstance(value, dict) else None


def word(value: Any, name: str) -> str:
    """Returns a field that is a string and can be sent back; an empty string otherwise."""
    found = get(value, name)
    return found if isinstance(found, str) and encodable(found) else ""


def checked_id(value: Any) -> str | int:
    """Returns the ``id`` that a caller gave to an event.

    Raises:
        FieldError: it is neither a whole number nor a short string.
    """
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63:
        return value
    if not isinstance(value, str) or len(value) > ID_CHARACTERS or not encodable(value):
        raise FieldError(
            f"id must be a whole number or a string of at most {ID_CHARACTERS} characters", param="id"
        )
    return value
