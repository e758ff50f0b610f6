"""``POST /v1/embeddings`` and ``GET /v1/models`` as OpenAI's clients speak them.

Schema: https://platform.openai.com/docs/api-reference/embeddings. ``input_type`` is an addition of ours.
"""

from __future__ import annotations

from typing import Any

from lambda_app.api import fields
from lambda_app.api.vectors import encode_vectors, input_type
from lambda_app.errors import FieldError
from lambda_app.service import EmbedRequest, Service

FIELDS = ("input", "model", "encoding_format", "dimensions", "user", "input_type")


def embeddings(service: Service, body: Any, deadline: float | None) -> tuple[dict[str, Any], str]:
    """The answer to an embeddings request, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, FIELDS)
    fields.optional_text(body, "model")
    fields.optional_text(body, "user")
    _refuse_token_ids(body.get("input"))
    encoding = fields.optional_choice(body, "encoding_format", ("float", "base64"), "float")
    dimensions = fields.optional_integer(body, "dimensions")
    result = service.embed(
        EmbedRequest(
            texts=fields.texts(body, "input", most=service.limits.embed_texts),
            input_type=input_type(body),
            base64=encoding == "base64",
            dimensions=dimensions,
            deadline=deadline,
            field="input",
        )
    )
    answer = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(encode_vectors(result.vectors, encoding))
        ],
        "model": result.model,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        "truncated": list(result.truncated),
    }
    return answer, result.fingerprint


def models(service: Service) -> dict[str, Any]:
    """The models that this function serves."""
    return {
        "object": "list",
        "data": [
            {"id": model.id, "object": "model", "created": 0, "owned_by": model.id.partition("/")[0]}
            for model in service.models()
        ],
    }


def _refuse_token_ids(value: Any) -> None:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list) and first:
        first = first[0]
    if isinstance(first, int) and not isinstance(first, bool):
        raise FieldError(
            "input must be text: token ids belong to another model's vocabulary "
            "(in langchain-openai set check_embedding_ctx_length=False)",
            param="input",
        )
