"""``POST /v1/embeddings`` and ``GET /v1/models`` as OpenAI's clients speak them, and Voyage's and Jina's too.

Schema: https://platform.openai.com/docs/api-reference/embeddings. The role ``none`` of ``input_type`` and
``truncated`` in the answer are additions of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing import input_type as roles
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.api.providers import jina, voyage
from lambda_app.errors import FieldError, NotFoundError
from lambda_app.service.types import EmbedRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service

FIELDS = (
    *("input", "model", "encoding_format", "dimensions", "user"),
    *voyage.EMBEDDING_FIELDS,
    *jina.EMBEDDING_FIELDS,
)
# NVIDIA's clients of this route send words where Jina's send true or false.
TRUNCATE: Mapping[str, Truncate] = {"NONE": "none", "START": "start", "END": "end"}


def embeddings(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """The answer to an embeddings request, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, FIELDS)
    fields.optional_text(body, "user")
    jina.refuse_what_no_model_here_does(body)
    _refuse_token_ids(body.get("input"))
    dtype, as_base64 = _encoding(body)
    dimensions = {name: fields.optional_integer(body, name) for name in ("output_dimension", "dimensions")}
    dimensions_field = max(dimensions, key=lambda name: dimensions[name] is not None)
    result = service.embed(
        EmbedRequest(
            texts=fields.texts(body, "input", most=service.limits.embed_texts),
            input_type=roles.agreed(
                {
                    "input_type": fields.optional_meaning(body, "input_type", roles.ROLES),
                    "task": jina.task(body),
                    "model": roles.alias(body),
                },
                # Most texts that reach a function are documents on their way into an index.
                default="passage",
            ),
            encodings=("base64" if as_base64 and dtype == "float" else dtype,),
            dimensions=dimensions[dimensions_field],
            truncate=_truncate(body),
            field="input",
            dimensions_field=dimensions_field,
        ),
        invocation,
    )
    answer = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(encode_vectors(result.vectors, dtype, as_base64=as_base64))
        ],
        "model": result.model,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        "truncated": list(result.truncated),
    }
    return answer, result.fingerprint


def models(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """The models that this function serves, and the embedding model's aliases by role."""
    served = service.models()
    entries = [_entry(model, model.id) for model in served]
    entries += [
        _entry(model, f"{model.id}:{role}")
        for model in served
        if model.task == "embedding"
        for role in ("query", "passage")
    ]
    return {"object": "list", "data": entries}


def model(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """One of the entries of :func:`models`.

    Raises:
        NotFoundError: there is none of that name.
    """
    for entry in models(service, payload, invocation)["data"]:
        if entry["id"] == payload["name"]:
            found: dict[str, Any] = entry
            return found
    raise NotFoundError("no such model: GET /v1/models lists those there are", param="model")


def _entry(model: ModelInfo, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": model.id.partition("/")[0]}


def _encoding(body: Mapping[str, Any]) -> tuple[str, bool]:
    """As which numbers vectors are written, and whether as base64."""
    encoding = fields.optional_choice(body, "encoding_format", ("float", "base64"), "float")
    dtype = voyage.output_dtype(body)
    return jina.embedding_type(body) or (dtype, encoding == "base64")


def _truncate(body: Mapping[str, Any]) -> Truncate:
    if isinstance(body.get("truncate"), str):
        voyage.truncate(body)
        return fields.optional_meaning(body, "truncate", TRUNCATE) or "end"
    jinas, voyages = fields.optional_flag(body, "truncate", default=True), voyage.truncate(body)
    return voyages if jinas else "none"


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
