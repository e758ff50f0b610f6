"""What Jina's clients add to ``/v1/embeddings``.

Schema: https://api.jina.ai/redoc. Its reranking is ``/v1/rerank`` in ``cohere.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.errors import FieldError

if TYPE_CHECKING:
    from lambda_app.models.embedder import InputType

# encoding_type is what LlamaIndex's JinaEmbedding calls embedding_type.
EMBEDDING_FIELDS = ("task", "embedding_type", "encoding_type", "normalized", "late_chunking", "truncate")
# Tasks that compare texts of one kind: E5's authors recommend the query prompt for those.
TASKS: Mapping[str, InputType] = {
    "retrieval.query": "query",
    "retrieval.passage": "passage",
    "text-matching": "query",
    "classification": "query",
    "separation": "query",
}
# How vectors are written: as which numbers, and whether as base64.
EMBEDDING_TYPES = {
    "float": ("float", False),
    "base64": ("float", True),
    "binary": ("binary", False),
    "ubinary": ("ubinary", False),
}


def task(body: Mapping[str, Any]) -> InputType | None:
    """The role that a task stands for."""
    return fields.optional_meaning(body, "task", TASKS)


def embedding_type(body: Mapping[str, Any]) -> tuple[str, bool] | None:
    """The one type asked for; None if none is.

    Raises:
        FieldError: there are several, which only Jina's own service answers.
    """
    chosen: list[str] = []
    for name in ("embedding_type", "encoding_type"):
        types = fields.optional_choices(body, name, EMBEDDING_TYPES)
        if len({*chosen, *types}) > 1:
            raise FieldError(f"{name} may be one type here: send a request for each", param=name)
        chosen = chosen or types
    return EMBEDDING_TYPES[chosen[0]] if chosen else None


def refuse_what_no_model_here_does(body: Mapping[str, Any]) -> None:
    """Fields that have one possible value here.

    Raises:
        FieldError: a field has another one.
    """
    if not fields.optional_flag(body, "normalized", default=True):
        raise FieldError("normalized must be true: vectors have length 1 here", param="normalized")
    if fields.optional_flag(body, "late_chunking"):
        raise FieldError("late_chunking must be false: each text is embedded alone", param="late_chunking")
