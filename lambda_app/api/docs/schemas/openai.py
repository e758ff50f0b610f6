"""Models of OpenAI's routes, with what Voyage's and Jina's clients send to the same."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lambda_app.api.docs.schemas.common import (
    Answer,
    Count,
    Dtype,
    EmbedTexts,
    Encoding,
    Request,
    Role,
    Vector,
)

JinaType = Literal["float", "base64", "binary", "ubinary"]
JinaTypes = JinaType | Annotated[list[JinaType], Field(max_length=4)]
Task = Literal["retrieval.query", "retrieval.passage", "text-matching", "classification", "separation"]


class EmbeddingsRequest(Request):
    """Texts to embed."""

    input: Annotated[EmbedTexts, Field(description="One text or a list of texts.")]
    model: Annotated[
        str | None,
        Field(description="Any name. One that ends in `:query`, `:passage` or `:none` states the role."),
    ] = None
    encoding_format: Encoding | None = None
    dimensions: Annotated[
        Count | None, Field(description="Fewer than the model has, where it was trained for that.")
    ] = None
    user: Annotated[str | None, Field(description="Accepted, and not looked at.")] = None
    input_type: Annotated[
        Role | None, Field(description="The role of the texts: passage unless it is stated. Voyage.")
    ] = None
    truncation: Annotated[
        bool | None, Field(description="False refuses texts that are too long. Voyage.")
    ] = None
    output_dimension: Annotated[Count | None, Field(description="As `dimensions`. Voyage.")] = None
    output_dtype: Annotated[Dtype | None, Field(description="How numbers are quantized. Voyage.")] = None
    task: Annotated[Task | None, Field(description="States the role. Jina.")] = None
    embedding_type: Annotated[JinaTypes | None, Field(description="One type. Jina.")] = None
    encoding_type: Annotated[JinaTypes | None, Field(description="As `embedding_type`.")] = None
    normalized: Annotated[Literal[True] | None, Field(description="Vectors have length 1. Jina.")] = None
    late_chunking: Annotated[Literal[False] | None, Field(description="Not done here. Jina.")] = None
    truncate: Annotated[
        bool | Literal["NONE", "START", "END"] | None,
        Field(description="What a text that is too long loses; false or NONE refuses it. Jina, NVIDIA."),
    ] = None


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
    """A model, or one of its aliases by role."""

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
    code: Annotated[str, Field(description="Stable; the README lists them all.")]


class OpenAIError(Answer):
    """An error as OpenAI's clients read it."""

    error: ErrorDetail


class EmbeddingsError(OpenAIError):
    """An error as OpenAI's, Voyage's and Jina's clients read it."""

    detail: str
