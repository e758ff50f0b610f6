"""``/v1/embed`` and ``/v2/embed``. Schema: https://docs.cohere.com/reference/embed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields, input_type
from lambda_app.api.parsing.choices import Choice, Choices
from lambda_app.api.parsing.json_schema import Refer, Schema, list_schema, open_object, text_schema
from lambda_app.api.parsing.request import AnyText, Field, Integer, Request, Texts
from lambda_app.api.parsing.vectors import DTYPES, encode_vectors
from lambda_app.api.providers.cohere.meta import meta
from lambda_app.errors import FieldError
from lambda_app.limits import Limits
from lambda_app.service.types import EmbedRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service
    from lambda_app.service.types import EmbedResult

# Classification and clustering compare texts of one kind: E5's authors recommend the query prompt for those.
INPUT_TYPES: Mapping[str, InputType] = {
    "search_document": "passage",
    "search_query": "query",
    "classification": "query",
    "clustering": "query",
}
TRUNCATE: Mapping[str, Truncate] = {"NONE": "none", "START": "start", "END": "end"}
EMBEDDING_TYPES = (*DTYPES, "base64")


class NoImages(Field[None]):
    """An empty list: the model reads text only."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> None:
        if body.get(name) not in (None, []):
            raise FieldError(f"{name} cannot be embedded: the model reads text", param=name)

    def schemas(self, refer: Refer) -> list[Schema]:
        return [{"description": "The model reads text only.", "items": {}, "maxItems": 0, "type": "array"}]


class TextPart:
    """A part of an input. There are no others here."""

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema of a part."""
        text = {**text_schema(), "title": "Text"}
        return open_object(cls, {"text": text, "type": {"const": "text", "title": "Type", "type": "string"}})


class Input:
    """One input, its parts joined by lines; whatever else the object holds is not looked at."""

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema of an input."""
        parts = {"items": refer(TextPart), "minItems": 1, "title": "Content", "type": "array"}
        return open_object(cls, {"content": parts})


class Inputs(Field[list[str]]):
    """``[{"content": [{"type": "text", "text": ...}]}]``; read as texts, an empty list where it is absent."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        inputs = body.get(name)
        if inputs is None:
            return []
        if not isinstance(inputs, list):
            raise FieldError(f"{name} must be a list of objects", param=name)
        # One more than fits is enough for the service to refuse the request.
        return [
            _content(item, f"{name}[{index}]") for index, item in enumerate(inputs[: limits.embed_texts + 1])
        ]

    def schemas(self, refer: Refer) -> list[Schema]:
        return [list_schema(refer(Input), Limits().embed_texts)]


class EmbedV1Request(Request):
    """Texts to embed."""

    # Before the texts, which a request with images does not have.
    images = NoImages()
    texts = Texts("embed_texts")
    model = AnyText("Any name; `:query` or `:passage` states the input type.")
    input_type = Choice(INPUT_TYPES, "The input type of the texts: search_document unless it is stated.")
    embedding_types = Choices(EMBEDDING_TYPES, "Vectors come in an object by type where this is given.")
    truncate = Choice(TRUNCATE, "What a text that is too long loses: its end unless it is stated.")
    # Of version 2 in Cohere's own service, and honoured in both.
    max_tokens = Integer("How many tokens of each text are read.")
    output_dimension = Integer("Fewer than the model has, where it was trained for that.")
    # About the queue of Cohere's own service.
    priority = Integer("Accepted and ignored.", minimum=0)


class EmbedV2Request(EmbedV1Request):
    """Texts to embed: ``texts`` or ``inputs``."""

    texts = Texts("embed_texts", required=False)
    inputs = Inputs()


def embed_v1(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Returns the response to an embed request, and the fingerprint of the vector space.

    Vectors are a list, or an object by type where ``embedding_types`` asks for it.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = EmbedV1Request(body, service.limits, invocation)
    types = request.embedding_types
    result = service.embed(_embed_request(service, request, request.texts, "texts"), invocation)
    by_type = _by_type(result, types or ["float"])
    response = {
        "response_type": "embeddings_by_type" if types else "embeddings_floats",
        "id": invocation.request_id,
        "embeddings": by_type if types else by_type["float"],
        "texts": request.texts,
        "meta": meta("1", {"input_tokens": result.tokens}, result.tokens, result.truncated, "texts"),
    }
    return response, result.fingerprint


def embed_v2(service: Service, body: Any, invocation: Invocation) -> tuple[dict[str, Any], str]:
    """Returns the response to an embed request of version 2, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = EmbedV2Request(body, service.limits, invocation)
    has_texts, has_inputs = (body.get(name) is not None for name in ("texts", "inputs"))
    if has_texts and has_inputs:
        raise FieldError(
            "texts and inputs are two ways to say the same: leave one of them out", param="texts"
        )
    if not has_texts and not has_inputs:
        fields.missing("texts", fields.TEXTS)
    texts, field = (request.texts, "texts") if has_texts else (request.inputs, "inputs")
    result = service.embed(_embed_request(service, request, texts, field), invocation)
    response = {
        "id": invocation.request_id,
        "embeddings": _by_type(result, request.embedding_types or ["float"]),
        "texts": texts,
        "response_type": "embeddings_by_type",
        "meta": meta("2", {"input_tokens": result.tokens}, result.tokens, result.truncated, field),
    }
    return response, result.fingerprint


def _embed_request(
    service: Service, request: EmbedV1Request, texts: Sequence[str], field: str
) -> EmbedRequest:
    return EmbedRequest(
        texts=texts,
        input_type=input_type.agreed(
            {
                "input_type": request.input_type,
                "model": input_type.of_model_name(request.model, has_prompts=service.has_prompts),
            },
            default="passage",
        ),
        encodings=request.embedding_types or ("float",),
        truncate=request.truncate or "end",
        dimensions=request.output_dimension,
        dimensions_field="output_dimension",
        max_tokens=request.max_tokens,
        field=field,
    )


def _by_type(result: EmbedResult, types: Sequence[str]) -> dict[str, list[Any]]:
    return {
        name: encode_vectors(result.vectors, "float", as_base64=True)
        if name == "base64"
        else encode_vectors(result.vectors, name)
        for name in types
    }


def _content(item: Any, where: str) -> str:
    content = item.get("content") if isinstance(item, dict) else None
    parts = content if isinstance(content, list) else []
    texts = [
        part.get("text") if isinstance(part, dict) and fields.word_of(part.get("type"), ["text"]) else None
        for part in parts
    ]
    whole = [text for text in texts if isinstance(text, str)]
    if not whole or len(whole) < len(texts):
        raise FieldError(
            f'{where} must be {{"content": [{{"type": "text", "text": string}}]}}: the model reads text',
            param=where,
        )
    return "\n".join(whole)
