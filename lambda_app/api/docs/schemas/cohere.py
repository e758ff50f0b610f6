"""Models of Cohere's routes; ``/v1/rerank`` is Jina's and Voyage's too."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lambda_app.api.docs.schemas.common import (
    LIMITS,
    Answer,
    Count,
    Documents,
    EmbedTexts,
    Request,
    Text,
    TextObject,
)
from lambda_app.api.docs.schemas.openai import ErrorDetail

EmbeddingType = Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]
EmbeddingTypes = EmbeddingType | Annotated[list[EmbeddingType], Field(max_length=6)]
InputType = Literal["search_document", "search_query", "classification", "clustering"]
NoImages = Annotated[list[Any], Field(max_length=0, description="The model reads text only.")]


class RerankV2Request(Request):
    """A query, and documents to rank by how well they answer it."""

    query: Text
    documents: Documents
    model: Annotated[str | None, Field(description="Any name.")] = None
    top_n: Count | None = None
    max_tokens_per_doc: Annotated[Count | None, Field(description="The most that is read of each.")] = None
    return_documents: bool | None = None
    priority: Annotated[int | None, Field(ge=0, description="Accepted, and not looked at.")] = None


class RerankV1Request(RerankV2Request):
    """A query, and documents to rank by how well they answer it."""

    documents: Annotated[  # type: ignore[assignment]
        Documents | Annotated[list[dict[str, Any]], Field(min_length=1, max_length=LIMITS.rerank_documents)],
        Field(description='Texts, `{"text": ...}`, or with `rank_fields` any objects.'),
    ]
    top_k: Annotated[Count | None, Field(description="As `top_n`. Voyage.")] = None
    rank_fields: Annotated[
        str | list[str] | None, Field(description="Fields of the documents to read, in that order.")
    ] = None
    max_chunks_per_doc: Annotated[
        Count | None, Field(description="Accepted; a document is one chunk here.")
    ] = None
    truncation: Annotated[
        bool | None, Field(description="False refuses documents that are too long. Voyage.")
    ] = None
    raw_scores: Annotated[bool | None, Field(description="The model's own scores, not in [0, 1].")] = None


class EmbedV1Request(Request):
    """Texts to embed."""

    texts: EmbedTexts
    model: Annotated[str | None, Field(description="Any name; `:query` or `:passage` states the role.")] = (
        None
    )
    images: NoImages | None = None
    input_type: Annotated[
        InputType | None, Field(description="The role of the texts: search_document unless it is stated.")
    ] = None
    embedding_types: Annotated[
        EmbeddingTypes | None, Field(description="Vectors come in an object by type where this is given.")
    ] = None
    truncate: Annotated[
        Literal["NONE", "START", "END"] | None,
        Field(description="What a text that is too long loses: its end unless it is stated."),
    ] = None


class TextPart(TextObject):
    """A part of an input. There are no others here."""

    type: Literal["text"]


class Input(BaseModel):
    """One input, its parts joined by lines; whatever else the object holds is not looked at."""

    model_config = ConfigDict(extra="allow", strict=True)

    content: Annotated[list[TextPart], Field(min_length=1)]


class EmbedV2Request(EmbedV1Request):
    """Texts to embed: ``texts`` or ``inputs``."""

    texts: EmbedTexts | None = None  # type: ignore[assignment]
    inputs: Annotated[list[Input], Field(min_length=1, max_length=LIMITS.embed_texts)] | None = None
    max_tokens: Annotated[Count | None, Field(description="The most that is read of each text.")] = None
    output_dimension: Annotated[
        Count | None, Field(description="Fewer than the model has, where it was trained for that.")
    ] = None
    priority: Annotated[int | None, Field(ge=0, description="Accepted, and not looked at.")] = None


class Document(Answer):
    """A document as it was read."""

    text: str


class Ranked(Answer):
    """A document's place in the request, and its score."""

    index: int
    relevance_score: float
    document: Document | None = Field(default=None, description="With `return_documents`.")


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
    code: Annotated[str, Field(description="Stable; the README lists them all.")]
    param: str | None


class RerankError(Answer):
    """An error as Cohere's, Voyage's and Jina's clients read it."""

    id: str
    message: str
    detail: str
    error: ErrorDetail
