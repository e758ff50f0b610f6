"""Models of text-embeddings-inference's responses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from lambda_app.api.docs.schemas.cohere import RerankV1Answer
from lambda_app.api.docs.schemas.common import Answer


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
    code: Annotated[str, Field(description="Stable; docs/reference/errors.md lists them all.")]
    param: str | None


Vectors = list[list[float]]
Similarities = list[float]
RootAnswer = Vectors | Similarities
Ranks = list[Rank]
RerankAnswer = Ranks | RerankV1Answer
TokenLists = list[list[TokenAnswer]]
