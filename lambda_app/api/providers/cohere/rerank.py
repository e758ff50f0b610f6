"""``/v1/rerank`` and ``/v2/rerank``.

Schema: https://docs.cohere.com/reference/rerank. ``/v1/rerank`` is Jina's and Voyage's too: its response
holds what the clients of each of the three read. ``raw_scores`` and ``truncated`` are our own additions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing.json_schema import Refer, Schema, list_schema
from lambda_app.api.parsing.request import AnyText, DocumentTexts, Field, Flag, Integer, Request, Text
from lambda_app.api.providers.cohere.meta import meta
from lambda_app.errors import FieldError
from lambda_app.limits import Limits
from lambda_app.service.types import RerankRequest
from lambda_app.service.validation import check_total

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service
    from lambda_app.service.types import RerankResult


class RankFields(Field[list[str]]):
    """A name or a list of names; read as a list, each name once, empty where it is absent."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        if body.get(name) is None:
            return []
        return list(dict.fromkeys(fields.texts(body, name, max_items=limits.rerank_documents)))

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"type": "string"}, {"items": {"type": "string"}, "type": "array"}]


class Documents(DocumentTexts):
    """Texts, or the values of the documents' ``rank_fields`` joined by lines."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        if body.get("rank_fields") is None:
            return super().read(body, name, limits)
        names = RankFields().read(body, "rank_fields", limits)
        documents = body.get(name)
        if not (isinstance(documents, list) and all(isinstance(document, dict) for document in documents)):
            raise FieldError(f"{name} must be a list of objects where rank_fields is given", param=name)
        # One more than fits is enough for the service to refuse the request.
        parts = [
            _parts(document, names, f"{name}[{index}]")
            for index, document in enumerate(documents[: self.max_items(limits) + 1])
        ]
        # Before anything is joined, so that what is too long takes no memory.
        check_total(sum(len(part) for texts in parts for part in texts), name, limits)
        return ["\n".join(texts) for texts in parts]

    def schemas(self, refer: Refer) -> list[Schema]:
        whole = {"additionalProperties": True, "type": "object"}
        return [*super().schemas(refer), list_schema(whole, self.max_items(Limits()))]


class RerankV2Request(Request):
    """A query, and documents to rank by how well they answer it."""

    query = Text()
    documents = Documents("rerank_documents", 'Texts, `{"text": ...}`, or with `rank_fields` any objects.')
    model = AnyText("Any name.")
    top_n = Integer()
    rank_fields = RankFields("Fields of the documents to read, in that order.")
    max_tokens_per_doc = Integer("How many tokens of each document are read.")
    return_documents = Flag("Documents come back as they were sent.")
    # About the queue of Cohere's own service.
    priority = Integer("Accepted and ignored.", minimum=0)
    # Version 1's, which Elasticsearch's client of version 2 sends too.
    max_chunks_per_doc = Integer("Accepted; a document is one chunk here.")
    # Voyage's, and our own.
    top_k = Integer("As `top_n`. Voyage.")
    truncation = Flag("False refuses documents that are too long. Voyage.", default=True)
    raw_scores = Flag("The model's own scores, not in [0, 1].")

    def ranking(self) -> RerankRequest:
        """Returns what the service is asked for."""
        return RerankRequest(
            query=self.query,
            documents=self.documents,
            top_n=self.top_k if self.top_n is None else self.top_n,
            raw_scores=self.raw_scores,
            truncate="end" if self.truncation else "none",
            document_tokens=self.max_tokens_per_doc,
        )


class RerankV1Request(RerankV2Request):
    """A query, and documents to rank by how well they answer it."""


def rerank_v1(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Returns the response that Cohere's, Jina's and Voyage's clients read, and the model's fingerprint.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = RerankV1Request(body, service.limits, invocation)
    sent = _sent(body["documents"], len(request.documents)) if request.return_documents else None
    result = service.rerank(request.ranking(), invocation)
    response = {
        "id": invocation.request_id,
        "object": "list",
        "model": result.model,
        "results": _results(result, sent),
        "data": [
            {"index": index, "relevance_score": score}
            | ({"document": request.documents[index]} if request.return_documents else {})
            for index, score in result.results
        ],
        "usage": {"total_tokens": result.tokens},
        "meta": meta("1", {"search_units": 1}, result.tokens, result.truncated, "documents"),
        "truncated": list(result.truncated),
    }
    return response, result.fingerprint


def rerank_v2(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Returns the response of version 2, and the model's fingerprint.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = RerankV2Request(body, service.limits, invocation)
    sent = _sent(body["documents"], len(request.documents)) if request.return_documents else None
    result = service.rerank(request.ranking(), invocation)
    response = {
        "id": invocation.request_id,
        "results": _results(result, sent),
        "meta": meta("2", {"search_units": 1}, result.tokens, result.truncated, "documents"),
    }
    return response, result.fingerprint


def _parts(document: Mapping[str, Any], names: Sequence[str], where: str) -> list[str]:
    values = [document[name] for name in names if name in document]
    if not all(isinstance(value, str) for value in values):
        raise FieldError(f"the rank_fields of {where} must be strings", param=where)
    return values


def _sent(given: Any, count: int) -> list[Any]:
    """Returns the first ``count`` documents as they come back.

    Raises:
        FieldError: JSON can carry one here, and not back.
    """
    documents = [given] if isinstance(given, str) else given[:count]
    for index, document in enumerate(documents):
        try:
            # Deeper than in the response, so that what passes here passes there.
            json.dumps([[[[[[[[document]]]]]]]], ensure_ascii=False, allow_nan=False).encode("utf-8")
        except (ValueError, RecursionError):
            where = f"documents[{index}]"
            raise FieldError(
                f"{where} cannot come back as it was sent: it holds a number that is too large or a lone "
                "surrogate, or nests too deeply",
                param=where,
            ) from None
    return [{"text": document} if isinstance(document, str) else document for document in documents]


def _results(result: RerankResult, sent: Sequence[Any] | None) -> list[dict[str, Any]]:
    return [
        {"index": index, "relevance_score": score} | ({"document": sent[index]} if sent is not None else {})
        for index, score in result.results
    ]
