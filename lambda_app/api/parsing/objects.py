"""Fields that hold an object: another request, or what is not looked at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.json_schema import Refer, Schema
from lambda_app.api.parsing.request import Field, Request
from lambda_app.limits import Limits

R = TypeVar("R", bound=Request)


class Nested(Field[R]):
    """An object with fields of its own; one that is optional and absent has the defaults of its fields."""

    def __init__(self, kind: type[R], *, required: bool = False) -> None:
        super().__init__(required=required)
        self.kind: type[R] = kind

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> R:
        value = body.get(name) if self.required else fields.optional_object(body, name)
        return self.kind(value, limits, None, name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [refer(self.kind)]


class Ignored(Field[Mapping[str, Any]]):
    """An object that is accepted and not looked at."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> Mapping[str, Any]:
        return fields.optional_object(body, name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"additionalProperties": True, "type": "object"}]
