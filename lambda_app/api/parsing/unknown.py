"""Fields that a request has and its route does not: refused, or ignored and named.

Their names are the caller's text, so they are shortened and cleaned before they leave. Imported by the first
request with such a field.
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from itertools import islice
from typing import NoReturn

from lambda_app.errors import FieldError

# The most names of a header or a log line, and the longest name: 1.1 KB in all.
MAX_NAMES = 16
MAX_CHARACTERS = 64
NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-.")
CUT = "..."


def refuse(name: str, known: Iterable[str]) -> NoReturn:
    """Raises the error of an unknown field, which names the known field that is nearest to it."""
    name = printable(name)
    known = sorted(known)
    nearest = nearest_name(name, known)
    advice = f"nearest known field: {nearest}" if nearest else f"the fields here are {', '.join(known)}"
    raise FieldError(f"unknown field; {advice}", param=name, code="unknown_field")


def listed(names: Iterable[str]) -> tuple[str, ...]:
    """Returns the first few names, each once, ready for a header and a log line."""
    first = list(islice(names, MAX_NAMES + 1))
    shown = dict.fromkeys(map(printable, first[:MAX_NAMES]))
    return (*shown, CUT) if len(first) > MAX_NAMES else tuple(shown)


def printable(name: str) -> str:
    """Returns a field's name shortened, with a question mark for what is not a letter, digit, ``_-.``."""
    shown = "".join(letter if letter in NAME_CHARACTERS else "?" for letter in name[:MAX_CHARACTERS])
    return (shown or "?") + (CUT if len(name) > MAX_CHARACTERS else "")


def nearest_name(name: str, candidates: Iterable[str]) -> str | None:
    """Returns the candidate that is nearly ``name``, whatever the case of either, or None."""
    import difflib

    by_word = {candidate.lower(): candidate for candidate in candidates}
    found = difflib.get_close_matches(name.lower(), by_word, n=1)
    return by_word[found[0]] if found else None
