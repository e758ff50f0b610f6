"""Orders documents by their scores. Imported by the first request to rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lambda_app.service.types import RerankResult

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.service.types import RerankRequest

# What a document gets in which there is nothing to read, so that it never stands before one with text: 0 as a
# score between 0 and 1. Models give it an accidental one, which is not always low.
LOWEST_LOGIT = -1000.0
LOWEST_COSINE = -1.0
# Categories of characters that nobody sees: control and format characters, and spaces.
INVISIBLE = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})


class Scores(NamedTuple):
    """Raw scores of documents: logits, or cosines. ``truncated`` holds places among those documents."""

    model: ModelInfo
    raw: np.ndarray
    is_cosine: bool
    tokens: int = 0
    truncated: tuple[int, ...] = ()


def no_scores(model: ModelInfo, *, is_cosine: bool) -> Scores:
    """Returns the scores of no documents."""
    return Scores(model, np.zeros(0), is_cosine)


def readable_places(documents: Sequence[str]) -> list[int]:
    """Returns the places of the documents that hold something to read."""
    return [place for place, document in enumerate(documents) if not _is_blank(document)]


def ranked(request: RerankRequest, scores: Scores, places: Sequence[int]) -> RerankResult:
    """Returns the result of a request, with the scores of the documents at ``places``, best first.

    The others have the lowest score. Ties keep the order of the request.
    """
    lowest = LOWEST_COSINE if scores.is_cosine else LOWEST_LOGIT
    found = np.full(len(request.documents), lowest, dtype=np.float64)
    found[list(places)] = scores.raw
    if not request.raw_scores:
        # Of a model that was trained without an activation too: every API promises scores from 0 to 1.
        # Rounding can put the cosine of two equal vectors slightly outside of [-1, 1].
        found = ((found + 1) / 2).clip(0.0, 1.0) if scores.is_cosine else _sigmoid(found)
    # A stable sort of the negated scores keeps ties in the order of the request.
    order = (-found).argsort(kind="stable")[: request.top_n]
    return RerankResult(
        scores.model.id,
        scores.model.fingerprint,
        tuple((int(index), float(found[index])) for index in order),
        scores.tokens,
        tuple(places[index] for index in scores.truncated),
    )


def _is_blank(text: str) -> bool:
    if any(character.isprintable() and not character.isspace() for character in text):
        return False
    import unicodedata

    return all(unicodedata.category(character) in INVISIBLE for character in text)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    # exp of a large positive number overflows; of a large negative one it is just 0.
    small = np.exp(-np.abs(logits))
    scores: np.ndarray = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return scores
