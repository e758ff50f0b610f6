"""``/embed``, ``/rerank``, ``/similarity`` and ``/tokenize`` of text-embeddings-inference (TEI).

``POST /`` is for clients that were given the bare URL. Schema:
https://huggingface.github.io/text-embeddings-inference. Answers are bare lists. As in TEI, no prompt is added
unless ``prompt_name`` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing import fields
from lambda_app.api.parsing import input_type as roles
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.errors import EmptyError, FieldError
from lambda_app.service.types import EmbedRequest, RerankRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.models.embedder import InputType
    from lambda_app.service.service import Service

TRUNCATION = ("truncate", "truncation_direction")
# options is what clients of the hub's older inference API send beside inputs: about queues and caches there.
EMBED = ("inputs", *TRUNCATION, "prompt_name", "normalize", "dimensions", "options")
RERANK = ("query", "texts", *TRUNCATION, "raw_scores", "return_text")
SIMILARITY = ("inputs", "parameters", "options")
PARAMETERS = (*TRUNCATION, "prompt_name")
TOKENIZE = ("inputs", "add_special_tokens", "prompt_name")
# Rust's clients send the first, Python's the second.
DIRECTIONS: Mapping[str, Truncate] = {"Left": "start", "left": "start", "Right": "end", "right": "end"}


def root(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """What clients of the hub post to a bare URL: a request to embed, or one to compare sentences."""
    compares = isinstance(body, dict) and isinstance(body.get("inputs"), dict)
    return (similarity if compares else embed)(service, body, invocation)


def embed(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """One vector for each text, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, EMBED)
    # Vectors leave the model at length 1. Haystack's clients send false by default, and have to work too.
    fields.optional_flag(body, "normalize")
    fields.optional_object(body, "options")
    result = service.embed(
        EmbedRequest(
            texts=_inputs(body, service.limits.embed_texts),
            input_type=_role(body),
            dimensions=fields.optional_integer(body, "dimensions"),
            truncate=_truncate(body),
            field="inputs",
        ),
        invocation,
    )
    return encode_vectors(result.vectors), result.fingerprint


def rerank(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """``{"index", "score"}`` of each text, best first, and the fingerprint of the model.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, RERANK)
    texts = fields.texts(body, "texts", most=service.limits.rerank_documents)
    return_text = fields.optional_flag(body, "return_text")
    result = service.rerank(
        RerankRequest(
            query=fields.text(body, "query"),
            documents=texts,
            raw_scores=fields.optional_flag(body, "raw_scores"),
            truncate=_truncate(body),
            field="texts",
        ),
        invocation,
    )
    ranks = [
        {"index": index, "score": score} | ({"text": texts[index]} if return_text else {})
        for index, score in result.results
    ]
    return ranks, result.fingerprint


def similarity(service: Service, body: Any, invocation: Invocation) -> tuple[list[float], str]:
    """The cosine of each sentence with the source sentence, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, SIMILARITY)
    inputs = fields.json_object(body.get("inputs"), "inputs")
    fields.reject_unknown(inputs, ("source_sentence", "sentences"))
    fields.optional_object(body, "options")
    parameters = fields.optional_object(body, "parameters")
    fields.reject_unknown(parameters, PARAMETERS)
    sentences = fields.texts(inputs, "sentences", most=service.limits.embed_texts - 1)
    if not sentences:
        raise EmptyError("sentences must hold at least one text", param="sentences")
    result = service.embed(
        EmbedRequest(
            # The source last, so that errors tell the sentences' own places.
            texts=[*sentences, fields.text(inputs, "source_sentence")],
            input_type=_role(parameters),
            # Nothing but one number for each sentence leaves.
            encodings=("ubinary",),
            truncate=_truncate(parameters),
            field="sentences",
        ),
        invocation,
    )
    vectors = result.vectors.astype("float64")
    return (vectors[:-1] @ vectors[-1]).clip(-1.0, 1.0).tolist(), result.fingerprint


def tokenize(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """The tokens of each text, uncut. Where in the text each begins is not known: null.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    body = fields.json_object(body)
    fields.reject_unknown(body, TOKENIZE)
    found = service.tokens(
        _inputs(body, service.limits.embed_texts),
        _role(body),
        invocation,
        special=fields.optional_flag(body, "add_special_tokens", default=True),
        field="inputs",
    )
    answer = [
        [
            {"id": token.id, "text": token.text, "special": token.special, "start": None, "stop": None}
            for token in tokens
        ]
        for tokens in found
    ]
    return answer, ""


def _inputs(body: Mapping[str, Any], most: int) -> Sequence[str]:
    value = body.get("inputs")
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list | int) and not isinstance(first, bool):
        raise FieldError("inputs must be text: token ids are not read here", param="inputs")
    return fields.texts(body, "inputs", most=most)


def _role(body: Mapping[str, Any]) -> InputType:
    return fields.optional_meaning(body, "prompt_name", roles.ROLES) or "none"


def _truncate(body: Mapping[str, Any]) -> Truncate:
    """As a TEI that was started with ``--auto-truncate``: texts are cut unless ``truncate`` is false."""
    direction = fields.optional_meaning(body, "truncation_direction", DIRECTIONS) or "end"
    return direction if fields.optional_flag(body, "truncate", default=True) else "none"
