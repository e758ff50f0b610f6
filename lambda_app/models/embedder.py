"""Texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

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

InputType = Literal["query", "passage", "none"]


class EmbedOutput(NamedTuple):
    """``vectors`` is (texts, dimensions) float32, each of length 1; ``truncated`` holds indices of texts."""

    vectors: np.ndarray
    tokens: int
    truncated: tuple[int, ...]


class Embedder:
    """The embedding model: tokenizer and session."""

    def __init__(
        self, model: ModelInfo, session: Session, tokenizer: Tokenizer, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._session = session
        self._batch_tokens = batch_tokens
        self._estimate = TokenizingEstimate()

    @classmethod
    def open(cls, model: ModelInfo, *, threads: int) -> Embedder:
        """Opens tokenizer and session of the bundle's embedding model.

        Raises:
            BundleError: a file of the model cannot be used.
        """
        from lambda_app.models.session import open_session
        from lambda_app.models.tokenizer import open_tokenizer

        return cls(model, open_session(model, threads=threads), open_tokenizer(model))

    def warm(self) -> None:
        """Runs one short inference, so that the next one meets mapped pages and allocated buffers."""
        warm_up(self._session, self.model)

    def embed(
        self,
        texts: Sequence[str],
        input_type: InputType,
        *,
        truncation_side: TruncationSide = "right",
        max_tokens: int | None = None,
        on_truncated: OnTruncated | None = None,
        on_empty: OnEmpty | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> EmbedOutput:
        """Embeds at least one text with the prompt of its input type.

        A text of more than the model's tokens, or of more than ``max_tokens`` of its own, loses its
        ``truncation_side``, never its prompt. ``on_truncated`` may raise instead, and ``on_empty`` raises for
        a text without tokens. ``checkpoint`` is called before each batch with the number of texts done, and
        may raise to stop.

        Raises:
            InferenceError: a vector is not finite.
        """
        self._session.begin()
        prompt = self.model.prompts.get(input_type, "")
        keep_first = 0
        if prompt and (truncation_side == "left" or max_tokens is not None):
            keep_first = len(self._tokenizer.ids([prompt])[0])
        limit = self.model.max_tokens
        if max_tokens is not None:
            limit = min(limit, max_tokens + keep_first + self._tokenizer.special_tokens)
        encodings = encode_in_parts(
            lambda part: self._tokenizer.encode_batch(
                part,
                limit,
                truncation_side=truncation_side,
                keep_first=keep_first,
                tick=ticker(checkpoint),
            ),
            self._prompted(texts, prompt),
            self._estimate,
            checkpoint,
        )
        refuse_empty(encodings, on_empty)
        truncated = tuple(index for index, encoding in enumerate(encodings) if encoding.truncated)
        if truncated and on_truncated is not None:
            on_truncated(truncated)
        return EmbedOutput(
            vectors=run_encodings(
                self._session, self.model, encodings, batch_tokens=self._batch_tokens, checkpoint=checkpoint
            ),
            tokens=sum(len(encoding.ids) for encoding in encodings),
            truncated=truncated,
        )

    def tokens(
        self,
        texts: Sequence[str],
        input_type: InputType,
        *,
        special: bool,
        on_tokens: OnTokens | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[list[Token]]:
        """Returns the tokens of texts with their prompt, uncut: see :func:`name_in_parts`."""
        prompted = self._prompted(texts, self.model.prompts.get(input_type, ""))
        return name_in_parts(
            self._tokenizer,
            prompted,
            self._estimate,
            special=special,
            on_tokens=on_tokens,
            checkpoint=checkpoint,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Returns the number of tokens of each text, without a prompt and special ones."""
        return [len(ids) for ids in self._tokenizer.ids(texts)]

    def text_tokens(self, input_type: InputType) -> int:
        """Returns how many tokens of a text the model reads beside its prompt and special ones."""
        prompt = self.model.prompts.get(input_type, "")
        taken = self.count_tokens([prompt])[0] if prompt else 0
        return self.model.max_tokens - taken - self._tokenizer.special_tokens

    @staticmethod
    def _prompted(texts: Sequence[str], prompt: str) -> Sequence[str]:
        """Texts with the prompt in front, but for those that a client has put it in front of already."""
        if not prompt:
            return texts
        return [text if text.startswith(prompt) else prompt + text for text in texts]
