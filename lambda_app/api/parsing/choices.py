"""Fields whose values are words of a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.json_schema import Refer, Schema, enum_schema
from lambda_app.api.parsing.request import Field
from lambda_app.limits import Limits

T = TypeVar("T")


class Choice(Field["T | None"], Generic[T]):
    """One of several words; read as what the word means, None where it is absent."""

    def __init__(self, meanings: Mapping[str, T], description: str = "") -> None:
        super().__init__(description)
        self.meanings = meanings

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> T | None:
        return fields.optional_meaning(body, name, self.meanings)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [enum_schema(self.meanings)]


class Choices(Field[list[str]]):
    """A word or a list of words; read as a list, each word once."""

    def __init__(self, words: Sequence[str], description: str = "") -> None:
        super().__init__(description)
        self.words = words

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        return fields.optional_choices(body, name, self.words)

    def schemas(self, refer: Refer) -> list[Schema]:
        word = enum_schema(self.words)
        return [word, {"items": word, "maxItems": len(self.words), "type": "array"}]
