"""``POST /v1/embeddings`` and ``GET /v1/models``, which Voyage's and Jina's clients call too.

Schema: https://platform.openai.com/docs/api-reference/embeddings. The input type ``none`` and ``truncated``
in the response are our own additions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields, input_type
from lambda_app.api.parsing.choices import Choice, Choices
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.json_schema import Refer, Schema, enum_schema
from lambda_app.api.parsing.request import AnyText, Field, Flag, Integer, Request, Texts
from lambda_app.api.parsing.vectors import DTYPES, ENCODINGS, encode_vectors
from lambda_app.api.providers import jina
from lambda_app.errors import FieldError, NotFoundError
from lambda_app.limits import Limits
from lambda_app.service.types import EmbedRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service

# NVIDIA's clients of this route send words where Jina's send true or false.
TRUNCATE: Mapping[str, Truncate] = {"NONE": "none", "START": "start", "END": "end"}


class InputTexts(Texts):
    """Texts; the token ids that OpenAI's clients may send instead are refused with advice."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        value = body.get(name)
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, list) and first:
            first = first[0]
        if isinstance(first, int) and not isinstance(first, bool):
            raise FieldError(
                f"{name} must be text: token ids belong to another model's vocabulary "
                "(in langchain-openai set check_embedding_ctx_length=False)",
                param=name,
            )
        return super().read(body, name, limits)


class TruncateField(Field["Truncate | None"]):
    """Jina's true or false, or NVIDIA's word; None where it is absent."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> Truncate | None:
        value = body.get(name)
        if isinstance(value, str):
            return fields.optional_meaning(body, name, TRUNCATE)
        if value is None:
            return None
        return "end" if fields.optional_flag(body, name) else "none"

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"type": "boolean"}, enum_schema(TRUNCATE)]


class EmbeddingsRequest(Request):
    """Texts to embed."""

    input = InputTexts("embed_texts", "One text or a list of texts.")
    model = AnyText("Any name. One that ends in `:query`, `:passage` or `:none` states the input type.")
    encoding_format = Choice(ENCODINGS)
    dimensions = Integer("Fewer than the model has, where it was trained for that.")
    user = AnyText("Accepted and ignored.")
    # Voyage's: https://docs.voyageai.com/reference/embeddings-api.
    input_type = Choice(INPUT_TYPES, "The input type of the texts: passage unless it is stated. Voyage.")
    prompt_name = Choice(INPUT_TYPES, "As `input_type`. TEI.")
    truncation = Flag("False refuses texts that are too long. Voyage.", default=True)
    output_dimension = Integer("As `dimensions`. Voyage.")
    output_dtype = Choice({name: name for name in DTYPES}, "How numbers are quantized. Voyage.")
    # Jina's: https://api.jina.ai/redoc. LlamaIndex's JinaEmbedding says encoding_type for embedding_type.
    task = Choice(jina.TASKS, "States the input type. Jina.")
    embedding_type = Choices(tuple(jina.EMBEDDING_TYPES), "One type. Jina.")
    encoding_type = Choices(tuple(jina.EMBEDDING_TYPES), "As `embedding_type`.")
    normalized = jina.FixedFlag(
        "Vectors have length 1. Jina.", value=True, reason="vectors have length 1 here"
    )
    late_chunking = jina.FixedFlag("Not done here. Jina.", value=False, reason="each text is embedded alone")
    truncate = TruncateField("What a text that is too long loses; false or NONE refuses it. Jina, NVIDIA.")


def embeddings(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Returns the response to an embeddings request, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = EmbeddingsRequest(body, service.limits, invocation)
    dtype, as_base64 = _encoding(request)
    dimensions, dimensions_field = request.output_dimension, "output_dimension"
    if dimensions is None:
        dimensions, dimensions_field = request.dimensions, "dimensions"
    result = service.embed(
        EmbedRequest(
            texts=request.input,
            input_type=input_type.agreed(
                {
                    "input_type": request.input_type,
                    "prompt_name": request.prompt_name,
                    "task": request.task,
                    "model": input_type.of_model_name(request.model, has_prompts=service.has_prompts),
                },
                # Most texts that reach a function are documents on their way into an index.
                default="passage",
            ),
            encodings=("base64" if as_base64 and dtype == "float" else dtype,),
            dimensions=dimensions,
            truncate=_truncate(request),
            field="input",
            dimensions_field=dimensions_field,
        ),
        invocation,
    )
    response = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(encode_vectors(result.vectors, dtype, as_base64=as_base64))
        ],
        "model": result.model,
        "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens},
        "truncated": list(result.truncated),
    }
    return response, result.fingerprint


def models(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Returns the models that this function serves, and the embedding model's aliases by input type."""
    served = service.models()
    entries = [_entry(model, model.id) for model in served]
    entries += [
        _entry(model, f"{model.id}:{alias}")
        for model in served
        if model.task == "embedding" and service.registry.serves("embedding")
        for alias in ("query", "passage")
    ]
    return {"object": "list", "data": entries}


def model(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Returns one of the entries of :func:`models`.

    Raises:
        NotFoundError: no model has that name.
    """
    for entry in models(service, payload, invocation)["data"]:
        if entry["id"] == payload["name"]:
            found: dict[str, Any] = entry
            return found
    raise NotFoundError("no such model: GET /v1/models lists those there are", param="model")


def _entry(model: ModelInfo, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": model.id.partition("/")[0]}


def _encoding(request: EmbeddingsRequest) -> tuple[str, bool]:
    """Returns the number type that vectors are written in, and whether as base64."""
    chosen = jina.one_type({"embedding_type": request.embedding_type, "encoding_type": request.encoding_type})
    return chosen or (request.output_dtype or "float", request.encoding_format == "base64")


def _truncate(request: EmbeddingsRequest) -> Truncate:
    if request.truncate == "none" or not request.truncation:
        return "none"
    return request.truncate or "end"
