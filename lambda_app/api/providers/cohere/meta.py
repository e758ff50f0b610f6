"""The part of Cohere's responses that is about the request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# Cohere's SDK prints each warning, so a long list of texts is cut.
MAX_NAMED = 10


def meta(
    version: str, billed_units: Mapping[str, int], tokens: int, truncated: Sequence[int], field: str
) -> dict[str, Any]:
    """Returns ``meta``, with a warning where texts of ``field`` were truncated."""
    about: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": billed_units,
        "tokens": {"input_tokens": tokens},
    }
    if truncated:
        more = ", ..." if len(truncated) > MAX_NAMED else ""
        places = ", ".join(map(str, truncated[:MAX_NAMED])) + more
        about["warnings"] = [f"{field} {places} are longer than the model reads: the rest was left out"]
    return about
