"""Models of OpenAI's responses, which Voyage's and Jina's clients read too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lambda_app.api.docs.schemas.common import Answer, Vector


class Embedding(Answer):
    """The vector of one text."""

    object: Literal["embedding"]
    index: int
    embedding: Vector | list[int]


class EmbeddingsUsage(Answer):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(Answer):
    """Vectors, in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: Annotated[str, Field(description="The model that was used, whatever was asked for.")]
    usage: EmbeddingsUsage
    truncated: Annotated[list[int], Field(description="Places of texts that were cut at the model's limit.")]


class Model(Answer):
    """A model, or one of its aliases by input type."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(Answer):
    """What this function serves."""

    object: Literal["list"]
    data: list[Model]


class ErrorDetail(Answer):
    """What is wrong, and with which field."""

    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None
    code: Annotated[str, Field(description="Stable; docs/reference/errors.md lists them all.")]


class OpenAIError(Answer):
    """An error as OpenAI's clients read it."""

    error: ErrorDetail


class EmbeddingsError(OpenAIError):
    """An error as OpenAI's, Voyage's and Jina's clients read it."""

    detail: str
