"""What Voyage's clients add to ``/v1/embeddings``.

Schema: https://docs.voyageai.com/reference/embeddings-api. Its reranking is ``/v1/rerank`` in ``cohere.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.vectors import DTYPES

if TYPE_CHECKING:
    from lambda_app.service.types import Truncate

EMBEDDING_FIELDS = ("input_type", "truncation", "output_dimension", "output_dtype")


def truncate(body: Mapping[str, Any]) -> Truncate:
    """``truncation`` is true unless told otherwise; without it a text that is too long is refused."""
    return "end" if fields.optional_flag(body, "truncation", default=True) else "none"


def output_dtype(body: Mapping[str, Any]) -> str:
    """How numbers are quantized: float unless told otherwise."""
    return fields.optional_choice(body, "output_dtype", DTYPES, "float")
