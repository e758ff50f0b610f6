"""Query and documents to relevance logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lambda_app.models.inference import TextModel, encode_in_parts, ticker

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.models.inference import Checkpoint, OnEmpty, OnTokens, OnTruncated
    from lambda_app.models.tokenizer.tokenizer import Token, TruncationSide


class RerankOutput(NamedTuple):
    """``logits`` is (documents,) float32, before any activation; ``truncated`` holds indices of documents."""

    logits: np.ndarray
    tokens: int
    truncated: tuple[int, ...]


class Reranker(TextModel):
    """A cross-encoder: reads query and document together and gives one logit."""

    def score(
        self,
        query: str,
        documents: Sequence[str],
        *,
        truncation_side: TruncationSide = "right",
        max_document_tokens: int | None = None,
        on_truncated: OnTruncated | None = None,
        on_empty: OnEmpty | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> RerankOutput:
        """Scores at least one document against the query; pairs over the limit are truncated longest first.

        ``truncation_side`` is what they lose, and ``max_document_tokens`` bounds a document by itself.
        ``on_truncated`` may raise instead, and ``on_empty`` raises for a pair without tokens. ``checkpoint``
        is called before each batch with the number of documents done, and may raise to stop.

        Raises:
            InferenceError: a logit is not finite.
        """
        self._session.begin()
        # Once, and not again for each part of the documents.
        encode = self._estimate.run(
            lambda queries: self._tokenizer.pair_encoder(
                queries[0],
                self.model.max_tokens,
                truncation_side=truncation_side,
                max_document_tokens=max_document_tokens,
                tick=ticker(checkpoint),
            ),
            [query],
            checkpoint,
        )
        encodings = encode_in_parts(encode, documents, self._estimate, checkpoint)
        return RerankOutput(*self._run(encodings, on_truncated, on_empty, checkpoint))

    def tokens(
        self,
        texts: Sequence[str],
        *,
        special: bool,
        on_tokens: OnTokens | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[list[Token]]:
        """Returns the tokens of single texts, not truncated.

        With ``special``, those that the model adds are among them. ``on_tokens`` may raise to stop.
        """
        return self._tokens(texts, special, on_tokens, checkpoint)
