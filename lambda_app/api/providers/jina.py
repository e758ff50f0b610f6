"""The values that Jina's clients add to ``/v1/embeddings``.

Schema: https://api.jina.ai/redoc. Its reranking is ``/v1/rerank`` in ``cohere/rerank.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.json_schema import Refer, Schema
from lambda_app.api.parsing.request import Field
from lambda_app.errors import FieldError
from lambda_app.limits import Limits

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType

# Tasks that compare texts of one kind: E5's authors recommend the query prompt for those.
TASKS: Mapping[str, InputType] = {
    "retrieval.query": "query",
    "retrieval.passage": "passage",
    "text-matching": "query",
    "classification": "query",
    "separation": "query",
}
# How vectors are written: as which numbers, and whether as base64.
EMBEDDING_TYPES = {
    "float": ("float", False),
    "base64": ("float", True),
    "binary": ("binary", False),
    "ubinary": ("ubinary", False),
}


class FixedFlag(Field[bool]):
    """A flag with one possible value here; any other is refused with the reason."""

    def __init__(self, description: str, *, value: bool, reason: str) -> None:
        super().__init__(description)
        self.value = value
        self.reason = reason

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> bool:
        if fields.optional_flag(body, name, default=self.value) is not self.value:
            raise FieldError(f"{name} must be {str(self.value).lower()}: {self.reason}", param=name)
        return self.value

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"const": self.value, "type": "boolean"}]


def one_type(chosen: Mapping[str, Sequence[str]]) -> tuple[str, bool] | None:
    """Returns the meaning of the one type that the fields ask for, or None.

    Raises:
        FieldError: they ask for several, which only Jina's own service answers.
    """
    words: list[str] = []
    for name, types in chosen.items():
        if len({*words, *types}) > 1:
            raise FieldError(f"{name} may be one type here: send a request for each", param=name)
        words = words or list(types)
    return EMBEDDING_TYPES[words[0]] if words else None
