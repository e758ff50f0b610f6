"""Models of text-embeddings-inference's routes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from lambda_app.api.docs.schemas.common import Answer, Count, Documents, EmbedTexts, Request, Role, Text

Truncates = Annotated[
    bool | None, Field(description="False refuses texts that are too long; they are cut unless it is.")
]
Direction = Annotated[
    Literal["Left", "left", "Right", "right"] | None, Field(description="Which end a text that is cut loses.")
]
Options = Annotated[dict[str, Any] | None, Field(description="Accepted, and not looked at.")]
Prompt = Annotated[
    Role | None, Field(description="The role whose prompt is put in front; none is unless it is stated.")
]


class TeiEmbedRequest(Request):
    """Texts to embed."""

    inputs: EmbedTexts
    truncate: Truncates = None
    truncation_direction: Direction = None
    prompt_name: Prompt = None
    normalize: Annotated[bool | None, Field(description="Vectors have length 1 in any case.")] = None
    dimensions: Count | None = None
    options: Options = None


class TeiRerankRequest(Request):
    """A query, and texts to rank by how well they answer it."""

    query: Text
    texts: Documents
    truncate: Truncates = None
    truncation_direction: Direction = None
    raw_scores: bool | None = None
    return_text: bool | None = None


class Sentences(Request):
    """A sentence, and others to compare with it."""

    source_sentence: Text
    sentences: EmbedTexts


class SimilarityParameters(Request):
    """How sentences are read."""

    truncate: Truncates = None
    truncation_direction: Direction = None
    prompt_name: Prompt = None


class SimilarityRequest(Request):
    """Sentences to compare."""

    inputs: Sentences
    parameters: SimilarityParameters | None = None
    options: Options = None


class TokenizeRequest(Request):
    """Texts to tokenize."""

    inputs: EmbedTexts
    add_special_tokens: Annotated[bool | None, Field(description="True unless stated.")] = None
    prompt_name: Prompt = None


class Rank(Answer):
    """A text's place in the request, and its score."""

    index: int
    score: float
    text: str | None = Field(default=None, description="With `return_text`.")


class TokenAnswer(Answer):
    """One token. Where in the text it begins is not known."""

    id: int
    text: str
    special: bool
    start: None
    stop: None


class TeiError(Answer):
    """An error as text-embeddings-inference's clients read it."""

    error: str
    error_type: Literal["Backend", "Empty", "Overloaded", "Tokenizer", "Validation"]
    code: Annotated[str, Field(description="Stable; the README lists them all.")]
    param: str | None


class RootRequest(RootModel[TeiEmbedRequest | SimilarityRequest]):
    """What clients of the hub post to a bare URL."""


Vectors = list[list[float]]
Similarities = list[float]
RootAnswer = Vectors | Similarities
Ranks = list[Rank]
TokenLists = list[list[TokenAnswer]]
