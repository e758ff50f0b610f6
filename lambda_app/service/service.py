"""Embeds and reranks: plain records in and out, no wire format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambda_app.errors import FieldError, ModelUnavailableError
from lambda_app.limits import Limits
from lambda_app.service.deadline import SECONDS_PER_TOKEN, before_writing, checkpoint
from lambda_app.service.types import EmbedRequest, EmbedResult, RerankRequest, RerankResult, Truncate
from lambda_app.service.validation import (
    check_dimensions,
    check_texts,
    check_tokens_fit,
    check_vectors_fit,
    empty_refusal,
    refusal,
)

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bundle import ModelInfo
    from lambda_app.invocation import Invocation
    from lambda_app.models.embedder import InputType
    from lambda_app.models.registry import ModelRegistry
    from lambda_app.models.tokenizer.tokenizer import Token, TruncationSide


class Service:
    """Embeds and reranks with the models of a registry, inside the limits."""

    def __init__(self, registry: ModelRegistry, limits: Limits | None = None) -> None:
        """Opens no model: the registry does, with the first request for it or before."""
        self.registry = registry
        self.limits = limits or Limits()

    def embed(self, request: EmbedRequest, invocation: Invocation) -> EmbedResult:
        """Embeds the texts.

        Raises:
            RequestError: a text or the number of texts is out of bounds, or no embedding model is served.
            DeadlineError: time ran out between batches.
            InferenceError: the model gave a value that is not finite.
        """
        check_texts(request.texts, request.field, self.limits.embed_texts, self.limits)
        # A bi-encoder's ranking needs the embedding model too, which is no permission to embed.
        if not self.registry.serves("embedding"):
            raise ModelUnavailableError("this function serves no embedding model")
        embedder = self.registry.embedder
        dimensions = check_dimensions(embedder.model, request.dimensions, request.dimensions_field)
        check_vectors_fit(request, dimensions, invocation.response_bytes)
        texts = len(request.texts)
        deadline = before_writing(invocation.deadline, texts, dimensions, request.encodings)
        output = embedder.embed(
            request.texts,
            request.input_type,
            truncation_side=_side(request.truncate),
            max_tokens=request.max_tokens,
            on_truncated=refusal(request.truncate, request.field),
            on_empty=empty_refusal(request.field),
            checkpoint=checkpoint(deadline, texts),
        )
        invocation.usage.add(texts, output.tokens)
        return EmbedResult(
            embedder.model.id,
            embedder.model.fingerprint,
            _shortened(output.vectors, dimensions),
            output.tokens,
            output.truncated,
        )

    def rerank(self, request: RerankRequest, invocation: Invocation) -> RerankResult:
        """Ranks the documents by relevance to the query.

        Scores are in [0, 1] unless raw ones are asked for: a cross-encoder's is the sigmoid of its logit,
        a bi-encoder's the cosine mapped to that.

        Raises:
            RequestError: a text, ``top_n`` or the number of documents is out of bounds, or no reranker is
                served.
            DeadlineError: time ran out between batches.
            InferenceError: the model gave a value that is not finite.
        """
        if request.top_n is not None and request.top_n < 1:
            raise FieldError("top_n must be at least 1", param="top_n")
        check_texts([request.query], "query", 1, self.limits)
        check_texts(request.documents, request.field, self.limits.rerank_documents, self.limits)
        rank = self._rank_by_cosine if self.registry.ranks_with_embedder else self._rank_by_cross_encoder
        result = rank(request, invocation.deadline)
        invocation.usage.add(len(request.documents), result.tokens)
        return result

    def tokens(
        self,
        texts: Sequence[str],
        input_type: InputType,
        invocation: Invocation,
        *,
        special: bool,
        field: str,
    ) -> list[list[Token]]:
        """Returns the tokens of texts, not truncated, as the embedding model (else the reranker) reads them.

        ``special`` adds the special tokens that the model reads around each text.

        Raises:
            RequestError: a text or the number of texts is out of bounds, or the response could not fit.
            DeadlineError: time ran out.
        """
        check_texts(texts, field, self.limits.embed_texts, self.limits)

        def check_count(count: int) -> None:
            check_tokens_fit(count, field, invocation.response_bytes)
            if check is not None:
                check(0, count * SECONDS_PER_TOKEN)

        check = checkpoint(invocation.deadline, len(texts))
        if self.registry.uses_embedder:
            found = self.registry.embedder.tokens(
                texts, input_type, special=special, on_tokens=check_count, checkpoint=check
            )
        else:
            found = self.registry.reranker.tokens(
                texts, special=special, on_tokens=check_count, checkpoint=check
            )
        count = sum(map(len, found))
        check_tokens_fit(count, field, invocation.response_bytes)
        invocation.usage.add(len(texts), count)
        return found

    def models(self) -> list[ModelInfo]:
        """Returns the models that this function serves, embedding first."""
        registry = self.registry
        served = {"embedding": registry.uses_embedder, "reranker": registry.serves("reranker")}
        return [model for model in registry.bundle.models() if served[model.task]]

    def _rank_by_cross_encoder(self, request: RerankRequest, deadline: float | None) -> RerankResult:
        reranker = self.registry.reranker
        output = reranker.score(
            request.query,
            request.documents,
            truncation_side=_side(request.truncate),
            max_document_tokens=request.document_tokens,
            on_truncated=refusal(request.truncate, request.field),
            on_empty=empty_refusal(request.field),
            checkpoint=checkpoint(deadline, len(request.documents)),
        )
        scores = output.logits.astype("float64")
        # Of a model that was trained without an activation too: every API promises scores from 0 to 1.
        if not request.raw_scores:
            scores = _sigmoid(scores)
        return _ranked(reranker.model, scores, output.tokens, output.truncated, request.top_n)

    def _rank_by_cosine(self, request: RerankRequest, deadline: float | None) -> RerankResult:
        embedder = self.registry.embedder
        total = len(request.documents)
        query = embedder.embed(
            [request.query],
            "query",
            truncation_side=_side(request.truncate),
            on_truncated=refusal(request.truncate, "query", single=True),
            on_empty=empty_refusal("query", single=True),
            checkpoint=checkpoint(deadline, total, query=True),
        )
        documents = embedder.embed(
            request.documents,
            "passage",
            truncation_side=_side(request.truncate),
            max_tokens=request.document_tokens,
            on_truncated=refusal(request.truncate, request.field),
            on_empty=empty_refusal(request.field),
            checkpoint=checkpoint(deadline, total),
        )
        scores = documents.vectors.astype("float64") @ query.vectors[0].astype("float64")
        if not request.raw_scores:
            # Rounding can put the cosine of two equal vectors slightly outside of [-1, 1].
            scores = ((scores + 1) / 2).clip(0.0, 1.0)
        truncated = tuple(range(total)) if query.truncated else documents.truncated
        return _ranked(embedder.model, scores, query.tokens + documents.tokens, truncated, request.top_n)


def _side(truncate: Truncate) -> TruncationSide:
    return "left" if truncate == "start" else "right"


def _shortened(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Returns the first numbers of each vector, normalized to length 1 again."""
    if dimensions == vectors.shape[1]:
        return vectors
    import numpy as np

    cut = vectors[:, :dimensions]
    # A vector whose first numbers are all zeros stays as it is.
    length = np.linalg.norm(cut, axis=1, keepdims=True)
    shortened: np.ndarray = cut / np.maximum(length, np.finfo(np.float32).tiny)
    return shortened


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    import numpy as np

    # exp of a large positive number overflows; of a large negative one it is just 0.
    small = np.exp(-np.abs(logits))
    scores: np.ndarray = np.where(logits >= 0, 1 / (1 + small), small / (1 + small))
    return scores


def _ranked(
    model: ModelInfo, scores: np.ndarray, tokens: int, truncated: tuple[int, ...], top_n: int | None
) -> RerankResult:
    # A stable sort of the negated scores keeps ties in the order of the request.
    order = (-scores).argsort(kind="stable")[:top_n]
    results = tuple((int(index), float(scores[index])) for index in order)
    return RerankResult(model.id, model.fingerprint, results, tokens, truncated)
