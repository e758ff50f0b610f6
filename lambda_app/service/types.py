"""Requests and results of the service, whatever API they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.models.embedder import InputType

# What happens to a text of more tokens than the model takes: it loses its end or its start, or is refused.
Truncate = Literal["end", "start", "none"]


class EmbedRequest(NamedTuple):
    """Texts to embed.

    ``encodings`` are names of :data:`lambda_app.service.validation.BYTES_PER_NUMBER`: how the response
    writes each vector. ``dimensions`` of None gives the model's own. ``max_tokens`` is the largest number of
    tokens read of a text. ``field`` and ``dimensions_field`` are the caller's names, for error messages.
    """

    texts: Sequence[str]
    input_type: InputType
    encodings: Sequence[str] = ("float",)
    dimensions: int | None = None
    truncate: Truncate = "end"
    max_tokens: int | None = None
    field: str = "texts"
    dimensions_field: str = "dimensions"


class EmbedResult(NamedTuple):
    """``vectors`` is (texts, dimensions) float32, each of length 1, in the order of the request."""

    model: str
    fingerprint: str
    vectors: np.ndarray
    tokens: int
    truncated: tuple[int, ...]

    @property
    def dimensions(self) -> int:
        """The numbers in each vector."""
        return int(self.vectors.shape[1])


class RerankRequest(NamedTuple):
    """Documents to rank by relevance to a query.

    ``top_n`` of None gives all documents. ``raw_scores`` gives the model's logit (or cosine) unchanged.
    ``document_tokens`` is the largest number of tokens read of a document. ``field`` is the caller's name
    for the documents, for error messages.
    """

    query: str
    documents: Sequence[str]
    top_n: int | None = None
    raw_scores: bool = False
    truncate: Truncate = "end"
    document_tokens: int | None = None
    field: str = "documents"


class RerankResult(NamedTuple):
    """``results`` are (index in the request, score), best first, ties by index."""

    model: str
    fingerprint: str
    results: tuple[tuple[int, float], ...]
    tokens: int
    truncated: tuple[int, ...]
