"""WordPiece tokenization from two memory-mapped files: a trie of pieces, and their ids.

The same search as the tokenizers library's: from the left the longest piece each time, those after the first
under their prefix (``##``); a word with a rest that no piece begins, or of too many characters, is one
unknown token.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lambda_app.models.tokenizer.vocabulary import WordCache, open_vocabulary

RECORD = np.dtype("<i4")
"""One record of ``pieces.npy``: the token id of trie key ``k``."""


class WordPieceSettings(NamedTuple):
    """What a search goes by, beside the pieces.

    ``prefix`` stands before pieces that continue a word; no piece has more than ``longest_piece`` characters,
    that prefix included; a word of more than ``longest_word`` characters is unknown.
    """

    prefix: str
    unknown_id: int
    longest_piece: int
    longest_word: int


class WordPiece:
    """A compiled WordPiece vocabulary. Opening reads a few pages of it, words page in the rest."""

    def __init__(self, directory: Path, settings: WordPieceSettings) -> None:
        """Map ``pieces.marisa`` and ``pieces.npy`` of a directory.

        Raises:
            OSError: a file is missing or cannot be mapped.
            ValueError: the files do not belong together.
        """
        self._trie, table = open_vocabulary(directory, RECORD, trailer=0)
        # Indexing a memoryview gives a Python number at a third of the price of indexing a numpy array.
        self._ids = memoryview(table)
        self._settings = settings
        self._unknown = (settings.unknown_id,)
        self._cache = WordCache()

    def encode(self, words: Iterable[str], limit: int, tick: Callable[[], None] | None = None) -> list[int]:
        """The first ``limit`` token ids of words; later words are not looked at.

        ``tick`` is called again and again, and may raise to stop.
        """
        return self._cache.encode(words, limit, self._search, tick)

    def _search(self, word: str, _limit: int) -> tuple[int, ...]:
        """Token ids of a word, all of them: its last character can make the whole of it unknown.

        Linear in its length: no more than the longest piece is looked at from any place.
        """
        prefix, _, longest, longest_word = self._settings
        size = len(word)
        if size > longest_word:
            return self._unknown
        prefixes = self._trie.iter_prefixes_with_ids
        ids: list[int] = []
        start = continued = 0
        rest = word[:longest]
        while start < size:
            end, last = 0, -1
            for piece, key in prefixes(rest):  # shortest first
                end, last = len(piece), key
            if end <= continued:  # not even one character behind the prefix
                return self._unknown
            ids.append(self._ids[last])
            start += end - continued
            continued = len(prefix)
            rest = prefix + word[start : start + longest]
        return tuple(ids)
