"""``/embed``, ``/rerank`` and ``/similarity`` of text-embeddings-inference (TEI).

``POST /`` is for clients that were given the bare URL. Schema:
https://huggingface.github.io/text-embeddings-inference. Responses are bare lists. As in TEI, no prompt is
added unless ``prompt_name`` asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api.parsing.choices import Choice
from lambda_app.api.parsing.input_type import INPUT_TYPES
from lambda_app.api.parsing.json_schema import Refer, Schema
from lambda_app.api.parsing.objects import Ignored, Nested
from lambda_app.api.parsing.request import DocumentTexts, Flag, Integer, Request, Text, Texts
from lambda_app.api.parsing.vectors import encode_vectors
from lambda_app.errors import EmptyError, FieldError
from lambda_app.limits import Limits
from lambda_app.service.types import EmbedRequest, RerankRequest, Truncate

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service

DIRECTIONS: Mapping[str, Truncate] = {"Left": "start", "Right": "end"}


class Inputs(Texts):
    """Texts; the token ids that TEI's clients may send instead are refused."""

    def read(self, body: Mapping[str, Any], name: str, limits: Limits) -> list[str]:
        value = body.get(name)
        first = value[0] if isinstance(value, list) and value else None
        if isinstance(first, list | int) and not isinstance(first, bool):
            raise FieldError(f"{name} must be text: token ids are not read here", param=name)
        return super().read(body, name, limits)


class Truncating(Request):
    """What happens to texts that are too long: as in a TEI that was started with ``--auto-truncate``."""

    truncate = Flag("False refuses texts that are too long; they are truncated unless it is.", default=True)
    truncation_direction = Choice(DIRECTIONS, "Which end a text that is truncated loses.")

    @property
    def truncation(self) -> Truncate:
        """What is done with a text that is too long."""
        return (self.truncation_direction or "end") if self.truncate else "none"


def prompt_field() -> Choice[Any]:
    """Returns the field that names an input type."""
    return Choice(INPUT_TYPES, "The input type whose prompt is put in front; none unless it is stated.")


def _options() -> Ignored:
    # Clients of the hub's older inference API send it: it is about queues and caches there.
    return Ignored("Accepted and ignored.")


class TeiEmbedRequest(Truncating):
    """Texts to embed."""

    inputs = Inputs("embed_texts")
    prompt_name = prompt_field()
    # Vectors leave the model at length 1. Haystack's clients send false by default, and have to work too.
    normalize = Flag("Vectors have length 1 in any case.")
    dimensions = Integer()
    options = _options()


class TeiRerankRequest(Truncating):
    """A query, and texts to rank by how well they answer it."""

    query = Text()
    texts = DocumentTexts("rerank_documents")
    raw_scores = Flag()
    return_text = Flag()


class AnyRerankRequest:
    """What clients of several APIs post to ``/rerank``: ``texts`` to TEI's, ``documents`` to all others."""

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema: one of two requests."""
        from lambda_app.api.providers.cohere.rerank import RerankV1Request

        return {
            "anyOf": [refer(TeiRerankRequest), refer(RerankV1Request)],
            "description": (cls.__doc__ or "").strip(),
            "title": cls.__name__,
        }


class Sentences(Request):
    """A sentence, and others to compare with it."""

    source_sentence = Text()
    # The source sentence is embedded with the others.
    sentences = Texts("embed_texts", reserved=1)


class SimilarityParameters(Truncating):
    """How sentences are read."""

    prompt_name = prompt_field()


class SimilarityRequest(Request):
    """Sentences to compare."""

    inputs = Nested(Sentences, required=True)
    parameters = Nested(SimilarityParameters)
    options = _options()


class RootRequest:
    """What clients of the hub post to a bare URL."""

    @classmethod
    def schema(cls, refer: Refer) -> Schema:
        """Returns the JSON Schema: one of two requests."""
        return {
            "anyOf": [refer(TeiEmbedRequest), refer(SimilarityRequest)],
            "description": cls.__doc__,
            "title": cls.__name__,
        }


def root(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """Returns the response to a request to embed, or to one to compare sentences.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    compares = isinstance(body, dict) and isinstance(body.get("inputs"), dict)
    return (similarity if compares else embed)(service, body, invocation)


def embed(service: Service, body: Any, invocation: Invocation) -> tuple[list[Any], str]:
    """Returns one vector for each text, and the fingerprint of the vector space.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = TeiEmbedRequest(body, service.limits, invocation)
    result = service.embed(
        EmbedRequest(
            texts=request.inputs,
            input_type=request.prompt_name or "none",
            dimensions=request.dimensions,
            truncate=request.truncation,
            field="inputs",
        ),
        invocation,
    )
    return encode_vectors(result.vectors), result.fingerprint


def rerank(service: Service, body: Any, invocation: Invocation) -> tuple[Any, str]:
    """Returns ``{"index", "score"}`` of each text, best first, and the fingerprint of the model.

    To ``documents``, as vLLM, Infinity and their clients say it, the response is that of ``/v1/rerank``.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    if isinstance(body, dict) and body.get("texts") is None and body.get("documents") is not None:
        from lambda_app.api.providers.cohere.rerank import rerank_v1

        return rerank_v1(service, {name: body[name] for name in body if name != "texts"}, invocation)
    request = TeiRerankRequest(body, service.limits, invocation)
    result = service.rerank(
        RerankRequest(
            query=request.query,
            documents=request.texts,
            raw_scores=request.raw_scores,
            truncate=request.truncation,
            field="texts",
        ),
        invocation,
    )
    ranks = [
        {"index": index, "score": score} | ({"text": request.texts[index]} if request.return_text else {})
        for index, score in result.results
    ]
    return ranks, result.fingerprint


def similarity(service: Service, body: Any, invocation: Invocation) -> tuple[list[float], str]:
    """Returns the cosine of each sentence with the source sentence, and the vector space's fingerprint.

    Raises:
        RequestError: the request cannot be served as it is.
    """
    request = SimilarityRequest(body, service.limits, invocation)
    sentences = request.inputs.sentences
    if not sentences:
        raise EmptyError("sentences must hold at least one text", param="sentences")
    result = service.embed(
        EmbedRequest(
            # The source last, so that errors name the sentences' own places.
            texts=[*sentences, request.inputs.source_sentence],
            input_type=request.parameters.prompt_name or "none",
            # One number for each sentence is all that is sent.
            encodings=("ubinary",),
            truncate=request.parameters.truncation,
            field="sentences",
        ),
        invocation,
    )
    vectors = result.vectors.astype("float64")
    return (vectors[:-1] @ vectors[-1]).clip(-1.0, 1.0).tolist(), result.fingerprint
