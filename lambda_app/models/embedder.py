"""Texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from lambda_app.models.inference import TextModel, encode_in_parts, ticker

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.models.inference import Checkpoint, OnEmpty, OnTokens, OnTruncated
    from lambda_app.models.tokenizer.tokenizer import Token, TruncationSide

InputType = Literal["query", "passage", "none"]


class EmbedOutput(NamedTuple):
    """``vectors`` is (texts, dimensions) float32, each of length 1; ``truncated`` holds indices of texts."""

    vectors: np.ndarray
    tokens: int
    truncated: tuple[int, ...]


class Embedder(TextModel):
    """The embedding model: tokenizer and session."""

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
        return EmbedOutput(*self._run(encodings, on_truncated, on_empty, checkpoint))

    def tokens(
        self,
        texts: Sequence[str],
        input_type: InputType,
        *,
        special: bool,
        on_tokens: OnTokens | None = None,
        checkpoint: Checkpoint | None = None,
    ) -> list[list[Token]]:
        """Returns the tokens of texts with their prompt, not truncated.

        With ``special``, those that the model adds are among them. ``on_tokens`` may raise to stop.
        """
        prompted = self._prompted(texts, self.model.prompts.get(input_type, ""))
        return self._tokens(prompted, special, on_tokens, checkpoint)

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
