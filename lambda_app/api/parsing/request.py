"""Declares the fields of a request once: how a value is read, and its JSON Schema.

A request is a class whose attributes are fields. ``Request(body, limits)`` reads all of them, before any
inference; the OpenAPI document asks the same fields for their schemas. Plain classes rather than a schema
library, since importing one costs a cold start 9 ms and more: docs/decisions/0007-request-types.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, overload

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.json_schema import (
    Refer,
    Schema,
    list_schema,
    open_object,
    text_schema,
)
from lambda_app.limits import Limits

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation

T = TypeVar("T")


class Field(Generic[T]):
    """One field of a request; ``T`` is the type that it is read as. ``kind`` is the request in it, if any."""

    kind: type[Request] | None = None

    def __init__(self, description: str = "", *, required: bool = False) -> None:
        self.description = description
        self.required = required

    @overload
    def __get__(self, request: None, owner: type) -> Field[T]: ...
    @overload
    def __get__(self, request: Request, owner: type) -> T: ...
    def __get__(self, request: Request | None, owner: type) -> Any:
        """Only the class comes here: a request holds the values that were read."""
        return self

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> T:
        """Returns the value of the field ``name``.

        Raises:
            FieldError: it is missing or wrong. LimitError: it holds too much.
        """
        raise NotImplementedError

    def schemas(self, refer: Refer) -> list[Schema]:
        """Returns the JSON Schema of each kind of value that the field takes, apart from null."""
        raise NotImplementedError

    def schema(self, name: str, refer: Refer) -> Schema:
        """Returns the field's JSON Schema; null is the same as leaving an optional field out."""
        kinds = self.schemas(refer)
        optional = not self.required
        whole: Schema = {"anyOf": kinds}
        if optional:
            whole = {"anyOf": [*kinds, {"type": "null"}], "default": None}
        if len(kinds) == 1 and not optional:
            whole = kinds[0]
        if self.description:
            whole = {**whole, "description": self.description}
        return whole if "$ref" in kinds[0] else {**whole, "title": name.replace("_", " ").title()}


class Request:
    """The fields of a JSON object, read and checked.

    ``refuses_unknown`` says whether fields that it does not have are refused whatever an invocation says.
    """

    refuses_unknown: ClassVar[bool] = False
    fields: ClassVar[Mapping[str, Field[Any]]] = {}

    def __init_subclass__(cls) -> None:
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Field)}
        cls.fields = {**cls.fields, **own}

    def __init__(
        self, body: Any, limits: Limits, invocation: Invocation | None, what: str = "the body"
    ) -> None:
        """Reads all fields.

        Unknown ones are refused or noted, as the invocation says. There is none for an object inside another
        request, which has looked for them already.

        Raises:
            RequestError: one cannot be read. Its message names the field, and never repeats its value.
        """
        body = fields.json_object(body, what)
        first = next(self.unknown_fields(body), None) if invocation is not None else None
        if invocation is not None and first is not None:
            from lambda_app.api.parsing import unknown

            if self.refuses_unknown or invocation.refuses_unknown:
                unknown.refuse(first, self.known_fields())
            invocation.usage.ignored_fields = unknown.listed(self.unknown_fields(body))
        for name, field in self.fields.items():
            self.__dict__[name] = field.read(body, name, limits)

    @classmethod
    def unknown_fields(cls, body: Mapping[str, Any]) -> Iterator[str]:
        """Yields the names of fields that a body should not have, those of objects in it as ``a.b``."""
        for name, value in body.items():
            field = cls.fields.get(name)
            if field is None:
                yield name
            elif field.kind is not None and isinstance(value, dict):
                yield from (f"{name}.{inner}" for inner in field.kind.unknown_fields(value))

    @classmethod
    def known_fields(cls) -> Iterator[str]:
        """Yields the names of all fields, those of objects in it as ``a.b``."""
        for name, field in cls.fields.items():
            yield name
            yield from (f"{name}.{inner}" for inner in (field.kind.known_fields() if field.kind else ()))

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema of the object."""
        required = [name for name, field in cls.fields.items() if field.required]
        return {
            "additionalProperties": not cls.refuses_unknown,
            "description": (cls.__doc__ or "").strip(),
            "properties": {name: field.schema(name, refer) for name, field in cls.fields.items()},
            **({"required": required} if required else {}),
            "title": cls.__name__,
            "type": "object",
        }


class Text(Field[str]):
    """A required string that will be tokenized."""

    def __init__(self, description: str = "") -> None:
        super().__init__(description, required=True)

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> str:
        return fields.text(body, name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [text_schema()]


class TextObject:
    """A text in an object; whatever else the object holds is not looked at."""

    may_be_empty = False

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema of the object."""
        return open_object(cls, {"text": {**text_schema(may_be_empty=cls.may_be_empty), "title": "Text"}})


class DocumentObject(TextObject):
    """A document in an object; whatever else the object holds is not looked at."""

    may_be_empty = True


class Texts(Field[list[str]]):
    """A string or a list of strings, each possibly as ``{"text": ...}``; read as a list.

    ``limit`` names the field of Limits that says how many fit, less ``reserved``. ``item`` describes a text
    in an object.
    """

    item: ClassVar[type[TextObject]] = TextObject

    def __init__(
        self, limit: str, description: str = "", *, required: bool = True, reserved: int = 0
    ) -> None:
        super().__init__(description, required=required)
        self.limit = limit
        self.reserved = reserved

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        if not self.required and body.get(name) is None:
            return []
        return fields.texts(body, name, max_items=self.max_items(limits))

    def max_items(self, limits: Limits) -> int:
        """Returns how many texts fit one request."""
        value: int = getattr(limits, self.limit)
        return value - self.reserved

    def schemas(self, refer: Refer) -> list[Schema]:
        text = text_schema(may_be_empty=self.item.may_be_empty)
        items = {"anyOf": [text, refer(self.item)]}
        return [text, list_schema(items, self.max_items(Limits()))]


class DocumentTexts(Texts):
    """Texts to rank. One with nothing in it is ranked last."""

    item = DocumentObject


class AnyText(Field[str]):
    """A string that is not tokenized; read as an empty one where it is absent."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> str:
        return fields.optional_text(body, name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"type": "string"}]


class Integer(Field["int | None"]):
    """A whole number of at least ``minimum``; read as None where it is absent."""

    def __init__(self, description: str = "", *, minimum: int = 1) -> None:
        super().__init__(description)
        self.minimum = minimum

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> int | None:
        return fields.optional_integer(body, name, minimum=self.minimum)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"minimum": self.minimum, "type": "integer"}]


class Flag(Field[bool]):
    """True or false; read as ``default`` where it is absent."""

    def __init__(self, description: str = "", *, default: bool = False) -> None:
        super().__init__(description)
        self.default = default

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> bool:
        return fields.optional_flag(body, name, default=self.default)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"type": "boolean"}]
