"""Query and documents to relevance logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from lambda_app.limits import BATCH_TOKENS
from lambda_app.models.inference import (
    Checkpoint,
    OnEmpty,
    OnTokens,
    OnTruncated,
    TokenizingEstimate,
    encode_in_parts,
    name_in_parts,
    refuse_empty,
    run_encodings,
    ticker,
    warm_up,
)

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bundle import ModelInfo
    from lambda_app.models.session import Session
    from lambda_app.models.tokenizer.tokenizer import Token, Tokenizer, TruncationSide


class RerankOutput(NamedTuple):
    """``logits`` is (documents,) float32, before any activation; ``truncated`` holds indices of documents."""

    logits: np.ndarray
    tokens: int
    truncated: tuple[int, ...]


class Reranker:
    """A cross-encoder: reads query and document together and gives one logit."""

    def __init__(
        self, model: ModelInfo, session: Session, tokenizer: Tokenizer, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._session = session
        self._batch_tokens = batch_tokens
        self._estimate = TokenizingEstimate()

    @classmethod
    def open(cls, model: ModelInfo, *, threads: int) -> Reranker:
        """Opens tokenizer and session of the bundle's cross-encoder.

        Raises:
            BundleError: a file of the model cannot be used.
        """
        from lambda_app.models.session import open_session
        from lambda_app.models.tokenizer import open_tokenizer

        return cls(model, open_session(model, threads=threads), open_tokenizer(model))

    def warm(self) -> None:
        """Runs one short inference, so that the next one meets mapped pages and allocated buffers."""
        warm_up(self._session, self.model)

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
        refuse_empty(encodings, on_empty)
        truncated = tuple(index for index, encoding in enumerate(encodings) if encoding.truncated)
        if truncated and on_truncated is not None:
            on_truncated(truncated)
        return RerankOutput(
            logits=run_encodings(
                self._session, self.model, encodings, batch_tokens=self._batch_tokens, checkpoint=checkpoint
            ),
            tokens=sum(len(encoding.ids) for encoding in encodings),
            truncated=truncated,
        )

    def tokens(
        self,
        texts: Sequence[str],
        *,
        special: bool,
        on_tokens: OnTokens | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[list[Token]]:
        """Returns the tokens of single texts, uncut: see :func:`name_in_parts`."""
        return name_in_parts(
            self._tokenizer,
            texts,
            self._estimate,
            special=special,
            on_tokens=on_tokens,
            checkpoint=checkpoint,
        )
