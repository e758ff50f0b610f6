"""Models of Cohere's responses; ``/v1/rerank`` is Jina's and Voyage's too."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lambda_app.api.docs.schemas.common import Answer
from lambda_app.api.docs.schemas.openai import ErrorDetail


class Ranked(Answer):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: dict[str, object] | None = Field(
        default=None, description="With `return_documents`: the document as it was sent, a text in `text`."
    )


class Version(Answer):
    """Of the API."""

    version: str


class Tokens(Answer):
    """Tokens that were read."""

    input_tokens: int


class Meta(Answer):
    """About the request."""

    api_version: Version
    billed_units: dict[str, int]
    tokens: Tokens
    warnings: list[str] | None = Field(default=None, description="What was cut at the model's limit.")


class RerankV2Answer(Answer):
    """Documents, best first."""

    id: str
    results: list[Ranked]
    meta: Meta


class Score(Answer):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: str | None = Field(default=None, description="With `return_documents`: the text that was read.")


class RerankUsage(Answer):
    """Tokens that were read."""

    total_tokens: int


class RerankV1Answer(RerankV2Answer):
    """Documents, best first: ``results`` for Cohere's and Jina's clients, ``data`` for Voyage's."""

    object: Literal["list"]
    model: str
    data: list[Score]
    usage: RerankUsage
    truncated: Annotated[list[int], Field(description="Places of documents that were cut.")]


Vectors = list[list[float]]


class ByType(Answer):
    """Vectors by type, as many as there are texts."""

    float_: Vectors | None = Field(default=None, alias="float")
    int8: list[list[int]] | None = None
    uint8: list[list[int]] | None = None
    binary: list[list[int]] | None = None
    ubinary: list[list[int]] | None = None
    base64: list[str] | None = None


class EmbedV2Answer(Answer):
    """Vectors, in the order of the texts."""

    response_type: Literal["embeddings_by_type"]
    id: str
    embeddings: ByType
    texts: list[str]
    meta: Meta


class EmbedFloatsAnswer(Answer):
    """Vectors, in the order of the texts."""

    response_type: Literal["embeddings_floats"]
    id: str
    embeddings: Vectors
    texts: list[str]
    meta: Meta


EmbedV1Answer = EmbedFloatsAnswer | EmbedV2Answer


class CohereError(Answer):
    """An error as Cohere's clients read it."""

    id: str
    message: str
    code: Annotated[str, Field(description="Stable; docs/reference/errors.md lists them all.")]
    param: str | None


class RerankError(Answer):
    """An error as Cohere's, Voyage's and Jina's clients read it."""

    id: str
    message: str
    detail: str
    error: ErrorDetail
