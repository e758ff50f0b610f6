"""Checks text that JSON can carry and UTF-8 cannot."""

from __future__ import annotations


def encodable(text: str) -> bool:
    """Whether a text has no lone surrogate, which would end Lambda's runtime client in a response."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
