"""Parts of JSON Schemas that requests share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lambda_app.limits import Limits

Schema = dict[str, Any]
# Adds a schema to those that a document can refer to, and returns the reference.
Refer = Callable[[type], Schema]


def text_schema(*, may_be_empty: bool = False) -> Schema:
    """Returns the JSON Schema of a text."""
    shortest = {} if may_be_empty else {"minLength": 1}
    return {"maxLength": Limits().text_characters, **shortest, "type": "string"}


def list_schema(items: Schema, max_items: int) -> Schema:
    """Returns the JSON Schema of a list with at least one item."""
    return {"items": items, "maxItems": max_items, "minItems": 1, "type": "array"}


def enum_schema(words: Sequence[str] | Mapping[str, Any]) -> Schema:
    """Returns the JSON Schema of one word of several."""
    return {"enum": list(words), "type": "string"}


def open_object(cls: type, properties: Mapping[str, Schema]) -> Schema:
    """Returns the JSON Schema of an object that may hold other fields too."""
    return {
        "additionalProperties": True,
        "description": (cls.__doc__ or "").strip(),
        "properties": dict(properties),
        "required": list(properties),
        "title": cls.__name__,
        "type": "object",
    }
