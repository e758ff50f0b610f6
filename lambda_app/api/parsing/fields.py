"""Reads typed fields out of parsed JSON, for every door.

Own code rather than a schema library, because direct invocation must not pay for importing one (50 ms of
cold start). Errors name the field and what it takes; they never repeat what was sent.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
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


def parse_json(body: bytes) -> Any:
    """Strict JSON: UTF-8, no NaN or Infinity, nesting within the interpreter's bounds.

    Raises:
        InvalidJSONError: saying where parsing stopped, never what stood there.
    """
    try:
        return json.loads(body, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidJSONError(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except UnicodeDecodeError:
        raise InvalidJSONError("the body is not UTF-8") from None
    except RecursionError:
        raise InvalidJSONError("the body nests too deeply") from None
    except ValueError:  # a number of more digits than Python converts
        raise InvalidJSONError("the body holds a number that is too long") from None


def json_object(value: Any, what: str = "the body") -> Mapping[str, Any]:
    """``value`` as an object, or a FieldError that says so."""
    if not isinstance(value, dict):
        raise FieldError(f"{what} must be a JSON object")
    return value


def reject_unknown(body: Mapping[str, Any], allowed: Collection[str]) -> None:
    """A misspelt option must not be ignored in silence."""
    if not body.keys() <= set(allowed):
        known = ", ".join(sorted(allowed))
        raise FieldError(f"unknown field: the fields here are {known}", code="unknown_field")


def text(body: Mapping[str, Any], name: str) -> str:
    """A required string."""
    value = body.get(name)
    if value is None:
        _missing(name, "a string")
    if not isinstance(value, str):
        _wrong(name, "a string", value)
    return value


def texts(body: Mapping[str, Any], name: str, *, most: int) -> list[str]:
    """A required string or list of strings, each possibly wrapped as ``{"text": ...}``; always a list.

    The count is checked before the items are looked at, so that a million bad ones cost nothing.
    """
    value = body.get(name)
    if value is None:
        _missing(name, "a list of strings")
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        _wrong(name, "a list of strings", value)
    if len(value) > most:
        raise LimitError(f"{name} holds {len(value)} texts, at most {most} fit one request", param=name)
    return [item_text(item, f"{name}[{index}]") for index, item in enumerate(value)]


def encodable(text: str) -> bool:
    """Whether a text can leave as UTF-8: one with a lone surrogate cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def optional_choice(body: Mapping[str, Any], name: str, choices: Collection[str], default: str) -> str:
    """One of ``choices``; absent or null gives ``default``."""
    value = body.get(name)
    if value is None:
        return default
    return _one_of(value, name, choices)


def optional_meaning(body: Mapping[str, Any], name: str, meanings: Mapping[str, T]) -> T | None:
    """What one of the words of ``meanings`` means; absent or null gives None."""
    value = body.get(name)
    return None if value is None else meanings[_one_of(value, name, meanings)]


def optional_choices(body: Mapping[str, Any], name: str, choices: Collection[str]) -> list[str]:
    """A list of ``choices``, each once and in the caller's order, or one of them alone; empty if absent."""
    value = body.get(name)
    if value is None:
        return []
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list):
        _wrong(name, "a list of strings", value)
    if len(given) > len(choices):
        raise FieldError(f"{name} may hold each of {', '.join(choices)} once", param=name)
    return list(dict.fromkeys(_one_of(item, name, choices) for item in given))


def optional_integer(body: Mapping[str, Any], name: str, *, least: int = 1) -> int | None:
    """A whole number of at least ``least``; absent or null gives None."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        _wrong(name, "a whole number", value)
    if value < least:
        raise FieldError(f"{name} must be at least {least}", param=name)
    return value


def optional_flag(body: Mapping[str, Any], name: str, *, default: bool = False) -> bool:
    """true or false; absent or null gives ``default``."""
    value = body.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        _wrong(name, "true or false", value)
    return value


def optional_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; absent or null gives an empty one."""
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        _wrong(name, "an object", value)
    return value


def optional_text(body: Mapping[str, Any], name: str) -> str:
    """Any string; absent or null gives an empty one."""
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        _wrong(name, "a string", value)
    return value


def _one_of(value: Any, name: str, choices: Collection[str]) -> str:
    if not (isinstance(value, str) and value in choices):
        raise FieldError(f"{name} must be one of {', '.join(choices)}", param=name)
    return value


def item_text(item: Any, where: str) -> str:
    """A text of a list, possibly wrapped as ``{"text": ...}``."""
    if isinstance(item, str):
        return item
    if isinstance(item, dict) and isinstance(item.get("text"), str):
        return cast("str", item["text"])
    _wrong(where, 'a string or {"text": string}', item)


def _missing(name: str, expected: str) -> NoReturn:
    raise FieldError(f"{name} is missing: it must be {expected}", param=name, code="missing_field")


def _wrong(name: str, expected: str, value: Any) -> NoReturn:
    found = JSON_TYPES.get(type(value), "null")
    raise FieldError(f"{name} must be {expected}, not {found}", param=name)


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidJSONError("the body holds NaN or Infinity, which is not JSON")
