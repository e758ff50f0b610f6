"""Models that the responses of several APIs share."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Vector = Annotated[
    list[float] | str, Field(description="Numbers, or base64 of little-endian numbers, as the request asks.")
]

T = TypeVar("T")
# Two values. Not a tuple: schemathesis turns the prefixItems of a response into a list of schemas under
# items, and then refuses that.
Pair = Annotated[list[T], Field(min_length=2, max_length=2)]


class Answer(BaseModel):
    """A body that the function sends."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Health(Answer):
    """That the function answers."""

    status: Literal["ok"]


class Info(BaseModel):
    """What runs here; the fields up to ``docker_label`` are those of text-embeddings-inference."""

    model_config = ConfigDict(extra="allow", strict=True, protected_namespaces=())

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, dict[str, object]]
    max_concurrent_requests: int
    max_input_length: int
    max_batch_tokens: int
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int
    version: str
    sha: str | None
    docker_label: str | None
    models: dict[str, dict[str, object]]
    rerank_kind: Literal["cross-encoder", "bi-encoder"] | None
    limits: dict[str, int]
    warnings: list[dict[str, str]]
    cold_start: dict[str, object]
