"""Reads typed values out of parsed JSON.

Errors name the field and what it takes; they never repeat what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, NoReturn, TypeVar, cast

from lambda_app.errors import FieldError, InvalidJSONError, LimitError

T = TypeVar("T")
JSON_TYPES = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "an object",
}
GZIP_MAGIC = b"\x1f\x8b"
WHOLE = "a whole number"
TEXTS = "a string or a list of strings"
# What clients of servers that read words as booleans send: RAGFlow, for return_documents.
FLAGS = {"true": True, "false": False}
# The longest word of any list has fewer characters.
WORD_CHARACTERS = 64


def parse_json(body: bytes) -> Any:
    """Parses strict JSON: UTF-8, no NaN or Infinity, nesting within the interpreter's bounds.

    Raises:
        InvalidJSONError: saying where parsing stopped, never what stood there.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidJSONError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeDecodeError:
        cure = ": it is gzip, send the header Content-Encoding: gzip" if body[:2] == GZIP_MAGIC else ""
        raise InvalidJSONError(f"the body is not UTF-8{cure}") from None
    except RecursionError:
        raise InvalidJSONError("the body nests too deeply") from None
    except ValueError:  # a number of more digits than Python converts
        raise InvalidJSONError("the body holds a number that is too long") from None


def json_object(value: Any, what: str = "the body") -> Mapping[str, Any]:
    """Returns ``value`` if it is an object.

    Raises:
        FieldError: it is not.
    """
    if not isinstance(value, dict):
        raise FieldError(f"{what} must be a JSON object")
    return value


def reject_unknown(body: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Refuses fields that are not allowed, since a misspelt option must not be ignored in silence."""
    if not body.keys() <= set(allowed):
        from lambda_app.api.parsing.unknown import refuse

        refuse(next(name for name in body if name not in allowed), allowed)


def text(body: Mapping[str, Any], name: str) -> str:
    """Reads a required string."""
    value = body.get(name)
    if value is None:
        missing(name, "a string")
    if not isinstance(value, str):
        wrong(name, "a string", value)
    return value


def texts(body: Mapping[str, Any], name: str, *, max_items: int) -> list[str]:
    """Reads a required string or list of strings, each possibly as ``{"text": ...}``; returns a list.

    The count is checked before the items are looked at, so that a million bad ones cost nothing.
    """
    value = body.get(name)
    if value is None:
        missing(name, TEXTS)
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        wrong(name, TEXTS, value)
    if len(value) > max_items:
        raise LimitError(f"{name} holds {len(value)} texts, at most {max_items} fit one request", param=name)
    return [item_text(item, f"{name}[{index}]") for index, item in enumerate(value)]


def optional_meaning(body: Mapping[str, Any], name: str, meanings: Mapping[str, T]) -> T | None:
    """Reads a word of ``meanings`` and returns what it means; absent or null gives None."""
    value = body.get(name)
    return None if value is None else meanings[one_of(value, name, meanings)]


def optional_choices(body: Mapping[str, Any], name: str, choices: Collection[str]) -> list[str]:
    """Reads a list of ``choices``, each once and in the caller's order, or one alone; empty if absent."""
    value = body.get(name)
    if value is None:
        return []
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        wrong(name, TEXTS, value)
    if len(given) > len(choices):
        raise FieldError(f"{name} may hold each of {', '.join(choices)} once", param=name)
    return list(dict.fromkeys(one_of(item, name, choices) for item in given))


def optional_integer(body: Mapping[str, Any], name: str, *, minimum: int = 1) -> int | None:
    """Reads a whole number of at least ``minimum``, as 8 or 8.0; absent or null gives None."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        wrong(name, WHOLE, value)
    if value < minimum:
        raise FieldError(f"{name} must be at least {minimum}", param=name)
    return value


def optional_flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """Reads true or false, as booleans or words; absent or null gives ``default``."""
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, str):
        value = FLAGS.get(word_of(value, FLAGS) or "", value)
    if not isinstance(value, bool):
        wrong(name, "true or false", value)
    return value


def optional_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Reads an object; absent or null gives an empty one."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        wrong(name, "an object", value)
    return value


def optional_text(body: Mapping[str, Any], name: str) -> str:
    """Reads any string; absent or null gives an empty one."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        wrong(name, "a string", value)
    return value


def one_of(value: Any, name: str, choices: Collection[str]) -> str:
    """Returns the one of ``choices`` that ``value`` is, in any case.

    Raises:
        FieldError: it is none of them.
    """
    word = word_of(value, choices)
    if word is None:
        raise FieldError(f"{name} must be one of {', '.join(choices)}", param=name)
    return word


def word_of(value: Any, choices: Collection[str]) -> str | None:
    """Returns the one of ``choices`` that ``value`` is, in any case, or None."""
    if not isinstance(value, str):
        return None
    if value in choices:
        return value
    if len(value) > WORD_CHARACTERS or not value.isascii():
        return None
    word = value.lower()
    return next((choice for choice in choices if choice.lower() == word), None)


def item_text(item: Any, where: str) -> str:
    """Reads a text of a list, possibly wrapped as ``{"text": ...}``."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        return cast("str", item["text"])
    if isinstance(item, dict):
        raise FieldError(f'{where} must be a string or {{"text": string}}: the model reads text', param=where)
    wrong(where, 'a string or {"text": string}', item)


def missing(name: str, expected: str) -> NoReturn:
    """Raises the error of a required field that is absent or null."""
    raise FieldError(f"{name} is missing: it must be {expected}", param=name, code="missing_field")


def wrong(name: str, expected: str, value: Any) -> NoReturn:
    """Raises the error of a field with a value of another type."""
    found = "a fraction" if _is_fraction(expected, value) else JSON_TYPES.get(type(value), "null")
    raise FieldError(f"{name} must be {expected}, not {found}", param=name)


def _is_fraction(expected: str, value: Any) -> bool:
    """Whether a number is wrong because it is not whole; one that is not finite is just a number."""
    return expected == WHOLE and isinstance(value, float) and isfinite(value)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSONError("the body holds NaN or Infinity, which is not JSON")
