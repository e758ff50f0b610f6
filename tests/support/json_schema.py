"""Whether a value is what a JSON Schema describes, for the keywords that the project's schemas use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
KEYWORDS = {
    *(
        "type",
        "const",
        "enum",
        "minLength",
        "maxLength",
        "minimum",
        "maximum",
        "minItems",
        "maxItems",
        "items",
    ),
    "prefixItems",
    *("properties", "additionalProperties", "required", "title", "description", "default"),
}


def resolved(schema: Mapping[str, Any], components: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the schema that a reference names, and any other as it is."""
    if "$ref" not in schema:
        return schema
    found: Mapping[str, Any] = components[schema["$ref"].rpartition("/")[2]]
    return found


def valid(value: Any, schema: Mapping[str, Any], components: Mapping[str, Any]) -> bool:
    """Whether a value is valid; ``components`` are the schemas that references name."""
    schema = resolved(schema, components)
    if "anyOf" in schema:
        return any(valid(value, one, components) for one in schema["anyOf"])
    unknown = schema.keys() - KEYWORDS
    assert not unknown, f"keywords this test does not know: {unknown}"
    kind = schema.get("type")
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        value = int(value)  # which JSON Schema takes for the same
    if kind is not None and not isinstance(value, TYPES[kind]):
        return False
    if isinstance(value, bool) and kind in ("integer", "number"):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    # The document says that words are taken in any case.
    if "enum" in schema and (value.lower() not in [word.lower() for word in schema["enum"]]):
        return False
    if isinstance(value, str):
        return bool(schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)))
    if isinstance(value, int | float):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    if isinstance(value, list):
        fits = schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
        first = schema.get("prefixItems", ())
        return (
            fits
            and all(valid(item, schema["items"], components) for item in value[len(first) :])
            and all(valid(item, inner, components) for item, inner in zip(value, first, strict=False))
        )
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        more = schema.get("additionalProperties", True) or value.keys() <= properties.keys()
        return (
            more
            and set(schema.get("required", ())) <= value.keys()
            and all(
                valid(value[name], inner, components) for name, inner in properties.items() if name in value
            )
        )
    return True
