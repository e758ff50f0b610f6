"""``POST /v1/rerank`` as Cohere's and Jina's clients speak it.

Schema: https://docs.cohere.com/reference/rerank and https://api.jina.ai/redoc. ``raw_scores`` is an addition
of ours.
"""

from __future__ import annotations

from typing import Any

from lambda_app.api import fields
from lambda_app.service import RerankRequest, Service

FIELDS = ("query", "documents", "model", "top_n", "return_documents", "raw_scores")


def rerank(service: Service, body: Any, deadline: float | None) -> tuple[dict[str, Any], str]:
    """The answer to a rerank request, and the fingerprint of the model.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, FIELDS)
    fields.optional_text(body, "model")
    documents = fields.texts(body, "documents", most=service.limits.rerank_documents)
    return_documents = fields.optional_flag(body, "return_documents")
    result = service.rerank(
        RerankRequest(
            query=fields.text(body, "query"),
            documents=documents,
            top_n=fields.optional_integer(body, "top_n"),
            raw_scores=fields.optional_flag(body, "raw_scores"),
            deadline=deadline,
        )
    )
    results = []
    for index, score in result.results:
        entry: dict[str, Any] = {"index": index, "relevance_score": score}
        if return_documents:
            entry["document"] = {"text": documents[index]}
        results.append(entry)
    answer = {
        "model": result.model,
        "results": results,
        "usage": {"total_tokens": result.tokens},
        "truncated": list(result.truncated),
    }
    return answer, result.fingerprint
