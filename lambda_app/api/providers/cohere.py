"""``/v1/rerank``, ``/v2/rerank``, ``/v1/embed`` and ``/v2/embed`` as Cohere's clients speak them.

Schema: https://docs.cohere.com/reference/rerank and /embed. ``/v1/rerank`` is Jina's and Voyage's too: its
answer holds what each of the three reads. ``raw_scores`` and ``truncated`` are additions of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing import input_type as roles
from lambda_app.api.parsing.vectors import DTYPES, encode_vectors
from lambda_app.errors import FieldError
from lambda_app.service.types import EmbedRequest, RerankRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service
    from lambda_app.service.types import EmbedResult, RerankResult

# priority is about the queue of Cohere's own service; a document is one chunk here, whatever is asked for.
RERANK_V2 = ("model", "query", "documents", "top_n", "max_tokens_per_doc", "return_documents", "priority")
RERANK_V1 = (*RERANK_V2, "rank_fields", "max_chunks_per_doc", "top_k", "truncation", "raw_scores")
EMBED_V1 = ("model", "texts", "images", "input_type", "embedding_types", "truncate")
EMBED_V2 = (*EMBED_V1, "inputs", "max_tokens", "output_dimension", "priority")
# Classification and clustering compare texts of one kind: E5's authors recommend the query prompt for those.
INPUT_TYPES: Mapping[str, InputType] = {
    "search_document": "passage",
    "search_query": "query",
    "classification": "query",
    "clustering": "query",
}
TRUNCATE: Mapping[str, Truncate] = {"NONE": "none", "START": "start", "END": "end"}
EMBEDDING_TYPES = (*DTYPES, "base64")


def rerank_v1(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """The answer to a rerank request, with what Cohere's, Jina's and Voyage's clients read, and the model's
    fingerprint.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, RERANK_V1)
    _accept(body)
    fields.optional_integer(body, "max_chunks_per_doc")
    top_n, top_k = fields.optional_integer(body, "top_n"), fields.optional_integer(body, "top_k")
    truncate: Truncate = "end" if fields.optional_flag(body, "truncation", default=True) else "none"
    with_text = fields.optional_flag(body, "return_documents")
    documents = _documents(body, service.limits.rerank_documents)
    result = service.rerank(
        RerankRequest(
            query=fields.text(body, "query"),
            documents=documents,
            top_n=top_k if top_n is None else top_n,
            raw_scores=fields.optional_flag(body, "raw_scores"),
            truncate=truncate,
            document_tokens=fields.optional_integer(body, "max_tokens_per_doc"),
        ),
        invocation,
    )
    answer = {
        "id": invocation.request_id,
        "object": "list",
        "model": result.model,
        "results": _results(documents if with_text else None, result),
        # Voyage's reader finds documents by their index, so they are not sent a second time.
        "data": [{"index": index, "relevance_score": score} for index, score in result.results],
        "usage": {"total_tokens": result.tokens},
        "meta": _meta("1", {"search_units": 1}, result.tokens, result.truncated, "documents"),
        "truncated": list(result.truncated),
    }
    return answer, result.fingerprint


def rerank_v2(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """The answer to a rerank request of version 2, and the fingerprint of the model. Errors as
    :func:`rerank_v1`."""
    body = fields.json_object(body)
    fields.reject_unknown(body, RERANK_V2)
    _accept(body)
    with_text = fields.optional_flag(body, "return_documents")
    documents = fields.texts(body, "documents", most=service.limits.rerank_documents)
    result = service.rerank(
        RerankRequest(
            query=fields.text(body, "query"),
            documents=documents,
            top_n=fields.optional_integer(body, "top_n"),
            document_tokens=fields.optional_integer(body, "max_tokens_per_doc"),
        ),
        invocation,
    )
    answer = {
        "id": invocation.request_id,
        "results": _results(documents if with_text else None, result),
        "meta": _meta("2", {"search_units": 1}, result.tokens, result.truncated, "documents"),
    }
    return answer, result.fingerprint


def embed_v1(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """The answer to an embed request, and the fingerprint of the vector space.

    Vectors are a list, or an object by type where ``embedding_types`` asks for it.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, EMBED_V1)
    types = fields.optional_choices(body, "embedding_types", EMBEDDING_TYPES)
    texts = fields.texts(body, "texts", most=service.limits.embed_texts)
    result = _embed(service, body, texts, "texts", types, invocation)
    by_type = _by_type(result, types or ["float"])
    answer = {
        "response_type": "embeddings_by_type" if types else "embeddings_floats",
        "id": invocation.request_id,
        "embeddings": by_type if types else by_type["float"],
        "texts": texts,
        "meta": _meta("1", {"input_tokens": result.tokens}, result.tokens, result.truncated, "texts"),
    }
    return answer, result.fingerprint


def embed_v2(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """The answer to an embed request of version 2, and the fingerprint of the vector space. Errors as
    :func:`embed_v1`."""
    body = fields.json_object(body)
    fields.reject_unknown(body, EMBED_V2)
    _accept(body)
    types = fields.optional_choices(body, "embedding_types", EMBEDDING_TYPES) or ["float"]
    field = "texts" if body.get("inputs") is None else "inputs"
    if field == "inputs" and body.get("texts") is not None:
        raise FieldError(
            "texts and inputs are two ways to say the same: leave one of them out", param="texts"
        )
    most = service.limits.embed_texts
    texts = fields.texts(body, "texts", most=most) if field == "texts" else _inputs(body, most)
    result = _embed(service, body, texts, field, types, invocation)
    answer = {
        "id": invocation.request_id,
        "embeddings": _by_type(result, types),
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": _meta("2", {"input_tokens": result.tokens}, result.tokens, result.truncated, field),
    }
    return answer, result.fingerprint


def _accept(body: Mapping[str, Any]) -> None:
    """Reads what changes nothing here: which model, and its place in a queue."""
    fields.optional_text(body, "model")
    fields.optional_integer(body, "priority", least=0)


def _embed(
    service: Service,
    body: Mapping[str, Any],
    texts: Sequence[str],
    field: str,
    types: Sequence[str],
    invocation: Invocation,
) -> EmbedResult:
    if body.get("images") not in (None, []):
        raise FieldError("images cannot be embedded: the model reads text", param="images")
    return service.embed(
        EmbedRequest(
            texts=texts,
            input_type=roles.agreed(
                {
                    "input_type": fields.optional_meaning(body, "input_type", INPUT_TYPES),
                    "model": roles.alias(body),
                },
                default="passage",
            ),
            encodings=types or ("float",),
            dimensions=fields.optional_integer(body, "output_dimension"),
            truncate=fields.optional_meaning(body, "truncate", TRUNCATE) or "end",
            max_tokens=fields.optional_integer(body, "max_tokens"),
            field=field,
            dimensions_field="output_dimension",
        ),
        invocation,
    )


def _by_type(result: EmbedResult, types: Sequence[str]) -> dict[str, list[Any]]:
    return {
        name: encode_vectors(result.vectors, "float", as_base64=True)
        if name == "base64"
        else encode_vectors(result.vectors, name)
        for name in types
    }


def _documents(body: Mapping[str, Any], most: int) -> list[str]:
    """Documents as texts: strings, ``{"text": ...}``, or the values of ``rank_fields`` joined by lines."""
    rank_fields = body.get("rank_fields")
    if rank_fields is None:
        return fields.texts(body, "documents", most=most)
    names = fields.texts(body, "rank_fields", most=most)
    documents = body.get("documents")
    if not (isinstance(documents, list) and all(isinstance(document, dict) for document in documents)):
        raise FieldError("documents must be a list of objects where rank_fields is given", param="documents")
    joined = []
    for index, document in enumerate(documents[: most + 1]):
        values = [document[name] for name in names if name in document]
        if not all(isinstance(value, str) for value in values):
            where = f"documents[{index}]"
            raise FieldError(f"the rank_fields of {where} must be strings", param=where)
        joined.append("\n".join(values))
    return joined


def _inputs(body: Mapping[str, Any], most: int) -> list[str]:
    """Texts of ``[{"content": [{"type": "text", "text": ...}]}]``, the parts of one input joined by lines."""
    inputs = body["inputs"]
    if not isinstance(inputs, list):
        raise FieldError("inputs must be a list of objects", param="inputs")
    return [_content(item, f"inputs[{index}]") for index, item in enumerate(inputs[: most + 1])]


def _content(item: Any, where: str) -> str:
    content = item.get("content") if isinstance(item, dict) else None
    parts = content if isinstance(content, list) else []
    texts = [
        part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts
    ]
    whole = [text for text in texts if isinstance(text, str)]
    if not whole or len(whole) < len(texts):
        raise FieldError(
            f'{where} must be {{"content": [{{"type": "text", "text": string}}]}}: the model reads text',
            param=where,
        )
    return "\n".join(whole)


def _results(documents: Sequence[str] | None, result: RerankResult) -> list[dict[str, Any]]:
    """Ranks with the text of each document, where ``documents`` is given."""
    return [
        {"index": index, "relevance_score": score}
        | ({"document": {"text": documents[index]}} if documents is not None else {})
        for index, score in result.results
    ]


def _meta(
    version: str, billed_units: Mapping[str, int], tokens: int, truncated: Sequence[int], field: str
) -> dict[str, Any]:
    meta: dict[str, Any] = {
        "api_version": {"version": version},
        "billed_units": billed_units,
        "tokens": {"input_tokens": tokens},
    }
    if truncated:
        # Cohere's SDK prints each warning, so a long list is kept short.
        places = ", ".join(map(str, truncated[:10])) + (", ..." if len(truncated) > 10 else "")
        meta["warnings"] = [f"{field} {places} are longer than the model reads: the rest was left out"]
    return meta
