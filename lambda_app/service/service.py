"""Embeds and reranks: plain records in and out, no wire format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lambda_app.errors import FieldError, ModelUnavailableError, TextError
from lambda_app.limits import Limits
from lambda_app.service.deadline import SECONDS_PER_TOKEN, before_writing, checkpoint
from lambda_app.service.types import EmbedRequest, EmbedResult, RerankRequest, RerankResult, Truncate
from lambda_app.service.validation import (
    check_characters,
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
    from lambda_app.service.ranking import Scores


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
        request = request._replace(texts=self.readable(request.texts))
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
        a bi-encoder's the cosine mapped to that. A document with nothing to read has the lowest of all.

        Raises:
            RequestError: a text, ``top_n`` or the number of documents is out of bounds, or no reranker is
                served.
            DeadlineError: time ran out between batches.
            InferenceError: the model gave a value that is not finite.
        """
        if request.top_n is not None and request.top_n < 1:
            raise FieldError("top_n must be at least 1", param="top_n")
        query, documents = self.readable([request.query])[0], self.readable(request.documents)
        request = request._replace(query=query, documents=documents)
        check_texts([query], "query", 1, self.limits)
        check_texts(
            documents, request.field, self.limits.rerank_documents, self.limits, check=check_characters
        )
        from lambda_app.service.ranking import ranked, readable_places

        score = self._cosines if self.registry.ranks_with_embedder else self._logits
        places = readable_places(documents)
        try:
            scores = score(request, places, invocation.deadline)
        except TextError as error:
            # The tokenizer finds nothing in some of them: they are ranked as empty ones are.
            if not error.indices:
                raise
            places = [place for index, place in enumerate(places) if index not in error.indices]
            scores = score(request, places, invocation.deadline)
        result = ranked(request, scores, places)
        invocation.usage.add(len(documents), result.tokens)
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
        texts = self.readable(texts)
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

    @property
    def has_prompts(self) -> bool:
        """Whether the embedding model reads a prompt before a text of some input type."""
        model = self.registry.bundle.embedding
        return model is not None and any(model.prompts.values())

    def models(self) -> list[ModelInfo]:
        """Returns the models that this function serves, embedding first."""
        registry = self.registry
        served = {"embedding": registry.uses_embedder, "reranker": registry.serves("reranker")}
        return [model for model in registry.bundle.models() if served[model.task]]

    def readable(self, texts: Sequence[str]) -> Sequence[str]:
        """Returns texts as models read them: without NULs, where NUL_CHARACTERS says so."""
        return [text.replace("\0", "") for text in texts] if self.registry.settings.strips_nul else texts

    def _logits(self, request: RerankRequest, places: Sequence[int], deadline: float | None) -> Scores:
        from lambda_app.service.ranking import Scores, no_scores

        reranker = self.registry.reranker
        if not places:
            return no_scores(reranker.model, is_cosine=False)
        output = reranker.score(
            request.query,
            [request.documents[place] for place in places],
            truncation_side=_side(request.truncate),
            max_document_tokens=request.document_tokens,
            on_truncated=refusal(request.truncate, request.field, places=places),
            on_empty=empty_refusal(request.field),
            checkpoint=checkpoint(deadline, len(places)),
        )
        return Scores(reranker.model, output.logits, False, output.tokens, output.truncated)

    def _cosines(self, request: RerankRequest, places: Sequence[int], deadline: float | None) -> Scores:
        from lambda_app.service.ranking import Scores, no_scores

        embedder, total = self.registry.embedder, len(places)
        if not places:
            return no_scores(embedder.model, is_cosine=True)
        query = embedder.embed(
            [request.query],
            "query",
            truncation_side=_side(request.truncate),
            on_truncated=refusal(request.truncate, "query", single=True),
            on_empty=empty_refusal("query", single=True),
            checkpoint=checkpoint(deadline, total, query=True),
        )
        documents = embedder.embed(
            [request.documents[place] for place in places],
            "passage",
            truncation_side=_side(request.truncate),
            max_tokens=request.document_tokens,
            on_truncated=refusal(request.truncate, request.field, places=places),
            on_empty=empty_refusal(request.field),
            checkpoint=checkpoint(deadline, total),
        )
        cosines = documents.vectors.astype("float64") @ query.vectors[0].astype("float64")
        truncated = tuple(range(total)) if query.truncated else documents.truncated
        return Scores(embedder.model, cosines, True, query.tokens + documents.tokens, truncated)


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
