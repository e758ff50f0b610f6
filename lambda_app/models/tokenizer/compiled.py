"""The tokenizer backend over a compiled vocabulary, which takes from the library no more than the words.

Plain ASCII text needs no normalizer either, so a function that has seen nothing else has not imported the
tokenizers library.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from lambda_app.models.tokenizer.pretokenize import is_plain_ascii

SplitWords = Callable[[str], list[str]]


class Vocabulary(Protocol):
    """A compiled vocabulary."""

    def encode(self, words: Iterable[str], limit: int, tick: Callable[[], None] | None = None) -> list[int]:
        """Returns the first ``limit`` token ids of words."""
        ...


class CompiledBackend:
    """Splits texts into words and searches a compiled vocabulary for them."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        split_ascii: SplitWords | None,
        load_splitter: Callable[[], SplitWords],
    ) -> None:
        """Joins a vocabulary with two ways to split a text into words.

        ``split_ascii`` is for plain ASCII, None where even that needs the normalizer. ``load_splitter`` gives
        the one for all other texts, and is called when the first such text comes.
        """
        self._vocabulary = vocabulary
        self._split_ascii = split_ascii
        self._load_splitter = load_splitter
        self._lock = threading.Lock()
        self._split: SplitWords | None = None

    def __call__(
        self, texts: Sequence[str], limit: int, tick: Callable[[], None] | None = None
    ) -> list[list[int]]:
        """Returns the first ``limit`` token ids of each text."""
        return [self._vocabulary.encode(self._words(text), limit, tick) for text in texts]

    def _words(self, text: str) -> list[str]:
        if self._split_ascii is not None and is_plain_ascii(text):
            return self._split_ascii(text)
        return (self._split or self._load())(text)

    def _load(self) -> SplitWords:
        with self._lock:
            if self._split is None:
                self._split = self._load_splitter()
            return self._split
