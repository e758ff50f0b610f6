"""Reads values as DynamoDB writes them, each under the name of its type.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from typing import Any

from lambda_app.errors import FieldError

# As deep as an item can be.
MAX_DEPTH = 32


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """Returns a value as JSON has it, as in ``{"S": "text"}`` to ``"text"``.

    Raises:
        FieldError: it is not such a value, or is binary, which JSON has no type for.
    """
    if not isinstance(value, dict) or len(value) != 1 or depth > MAX_DEPTH:
        raise _wrong(where)
    ((kind, content),) = value.items()
    if kind == "NULL":
        return None
    if (kind == "S" and isinstance(content, str)) or (kind == "BOOL" and isinstance(content, bool)):
        return content
    if kind == "N":
        return _number(content, where)
    if kind == "M" and isinstance(content, dict):
        return {name: plain(item, where, depth + 1) for name, item in content.items()}
    if kind == "L" and isinstance(content, list):
        return [plain(item, where, depth + 1) for item in content]
    if kind == "SS" and isinstance(content, list):
        return [plain({"S": item}, where, depth + 1) for item in content]
    if kind == "NS" and isinstance(content, list):
        return [_number(item, where) for item in content]
    raise _wrong(where)


def _number(text: Any, where: str) -> int | float:
    # DynamoDB's numbers have 38 digits at most.
    if not isinstance(text, str) or len(text) > 50:
        raise _wrong(where)
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if abs(number) < float("inf"):
            return number
    raise _wrong(where)


def _wrong(where: str) -> FieldError:
    return FieldError(
        f"{where} holds a value that JSON has no type for, or that DynamoDB does not write", param=where
    )
