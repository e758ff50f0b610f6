"""A compiled vocabulary: a memory-mapped trie of pieces, and a memory-mapped record of each.

What Unigram and WordPiece have in common: the two files, and a cache of words already searched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np

TRIE_FILE = "pieces.marisa"
TABLE_FILE = "pieces.npy"
"""Record ``k`` belongs to trie key ``k``; after those there may be some for the vocabulary as a whole."""

_CACHED_WORD = 64  # characters; a longer "word" is text in an unspaced script, which does not come again
_CACHE_WORDS = 8192
_WORDS_PER_TICK = 512
_CACHE_CHARACTERS = 131_072


def open_vocabulary(directory: Path, record: np.dtype, trailer: int) -> tuple[Any, Any]:
    """Maps ``pieces.marisa`` and ``pieces.npy`` of a directory.

    Returns:
        The trie, and one ``record`` for each of its keys with ``trailer`` more at the end.

    Raises:
        OSError: a file is missing or cannot be mapped.
        ValueError: the files do not belong together, or to this kind of tokenizer.
    """
    trie_path, table_path = directory / TRIE_FILE, directory / TABLE_FILE
    if not trie_path.is_file():  # marisa's own error does not name the file
        raise FileNotFoundError(f"{trie_path}: no such file")
    try:
        trie = marisa_trie.Trie().mmap(str(trie_path))
    except RuntimeError as error:
        raise ValueError(f"{trie_path}: not a marisa trie ({error})") from error
    try:
        table = np.load(table_path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{table_path}: not a numpy array ({error})") from error
    if table.dtype != record or table.shape != (len(trie) + trailer,):
        raise ValueError(
            f"{table_path}: expected {len(trie) + trailer} records of {record} for the trie "
            f"beside it, found shape {table.shape} of {table.dtype}"
        )
    return trie, table


class WordCache:
    """Bounded map from word to token ids: two generations, the older dropped whole when the younger is full.

    Cheaper than an LRU (nothing is written when a word is found), and words in use survive as they are copied
    forward. Safe to share between threads: a race costs a repeated search, nothing else.
    """

    def __init__(self, words: int = _CACHE_WORDS, characters: int = _CACHE_CHARACTERS) -> None:
        """Bound each of the two generations by entries and by characters of their words."""
        self._words = words
        self._characters = characters
        self._held = 0
        self._young: dict[str, tuple[int, ...]] = {}
        self._old: dict[str, tuple[int, ...]] = {}

    def __len__(self) -> int:
        """Number of entries in both generations."""
        return len(self._young) + len(self._old)

    def get(self, word: str) -> tuple[int, ...] | None:
        """Token ids of a word, or None if they are not held."""
        ids = self._young.get(word)
        if ids is None:
            ids = self._old.get(word)
            if ids is not None:
                self.put(word, ids)
        return ids

    def put(self, word: str, ids: tuple[int, ...]) -> None:
        """Hold the ids of a word."""
        if len(self._young) >= self._words or self._held + len(word) > self._characters:
            self._old, self._young, self._held = self._young, {}, 0
        self._young[word] = ids
        self._held += len(word)

    def encode(
        self,
        words: Iterable[str],
        limit: int,
        search: Callable[[str, int], tuple[int, ...]],
        tick: Callable[[], None] | None = None,
    ) -> list[int]:
        """The first ``limit`` token ids of words; later words are not looked at.

        ``tick`` is called every so many words that are not held, and may raise to stop.

        ``search`` gives the ids of a word that is not held: at least as many as its second argument says, if
        the word has as many; all of them, if the word is short enough to be held.
        """
        ids: list[int] = []
        held = self.get
        searched = 0
        for word in words:
            found = held(word)
            if found is None:
                searched += 1
                if tick is not None and searched % _WORDS_PER_TICK == 0:
                    tick()
                found = search(word, limit - len(ids))
                if len(word) <= _CACHED_WORD:
                    self.put(word, found)
            ids += found
            if len(ids) >= limit:
                del ids[limit:]
                break
        return ids
