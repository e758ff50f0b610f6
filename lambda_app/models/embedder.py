"""Texts to vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from lambda_app.limits import BATCH_TOKENS
from lambda_app.models.inference import Checkpoint, run_encodings, warm_up

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bundle import ModelInfo
    from lambda_app.models.session import Session
    from lambda_app.models.tokenization import Tokenizer

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

    @classmethod
    def open(cls, model: ModelInfo, *, threads: int, prepack: bool | None = None) -> Embedder:
        """Opens tokenizer and session of the bundle's embedding model.

        Raises:
            BundleError: a file of the model cannot be used.
        """
        from lambda_app.models.session import open_session
        from lambda_app.models.tokenization import load_tokenizer

        return cls(model, open_session(model, threads=threads, prepack=prepack), load_tokenizer(model))

    def warm(self) -> None:
        """Runs one short inference, so that the next one meets mapped pages and allocated buffers."""
        warm_up(self._session, self.model)

    def embed(
        self, texts: Sequence[str], input_type: InputType, *, checkpoint: Checkpoint | None = None
    ) -> EmbedOutput:
        """Embeds at least one text in the given role.

        ``checkpoint`` is called before each batch with the number of texts done, and may raise to stop.

        Raises:
            InferenceError: a vector is not finite.
        """
        prompt = self.model.prompts.get(input_type, "")
        if prompt:
            texts = [text if text.startswith(prompt) else prompt + text for text in texts]
        encodings = self._tokenizer.encode_batch(texts, self.model.max_tokens)
        return EmbedOutput(
            vectors=run_encodings(
                self._session, self.model, encodings, batch_tokens=self._batch_tokens, checkpoint=checkpoint
            ),
            tokens=sum(len(encoding.ids) for encoding in encodings),
            truncated=tuple(index for index, encoding in enumerate(encodings) if encoding.truncated),
        )
