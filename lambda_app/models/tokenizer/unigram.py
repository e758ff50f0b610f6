"""Unigram tokenization from two memory-mapped files: a trie of pieces, and their scores and ids.

The same search as ``encode_optimized`` of the tokenizers library (itself sentencepiece's): scores are summed
in 64-bit floats in the same order, a later candidate wins only if it is strictly better, an unknown character
costs the lowest score of the vocabulary less 10, and neighbouring unknown characters become one unknown
token.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from lambda_app.models.tokenizer.pretokenize import fields_with_end
from lambda_app.models.tokenizer.vocabulary import WordCache, open_vocabulary

RECORD = np.dtype([("score", "<f8"), ("id", "<i4")], align=True)
"""One record of ``pieces.npy``; record ``k`` belongs to trie key ``k``. Score and id lie in one page of the
file; aligned, as a memoryview reads nothing else."""
TRAILER = 3
"""Records after those of the pieces: score and id of the unknown token; the longest piece in characters;
whether plain ASCII text needs no normalizer (see ``CompiledBackend``). The last two are in the id field.
Where white space at the end of plain ASCII is a word, the last record has 0 there and 1.0 as its score."""

_FIRST_LOOK_BACK = 512  # characters of a word before the first try to stop early
_CHARACTERS_PER_TICK = 8192


class Unigram:
    """A compiled Unigram vocabulary. Opening reads a few pages of it, words page in the rest."""

    def __init__(self, directory: Path) -> None:
        """Map ``pieces.marisa`` and ``pieces.npy`` of a directory.

        Raises:
            OSError: a file is missing or cannot be mapped.
            ValueError: the files do not belong together.
        """
        self._trie, table = open_vocabulary(directory, RECORD, TRAILER)
        # Indexing a memoryview gives a Python number at a third of the price of indexing a numpy array.
        self._scores = memoryview(table["score"])
        self._ids = memoryview(table["id"])
        unknown, longest, plain = range(-TRAILER, 0)
        self._unknown_score: float = self._scores[unknown]
        self._unknown_id: int = self._ids[unknown]
        self._longest: int = self._ids[longest]
        self.split_ascii: Callable[[str], list[str]] | None = None
        if self._ids[plain]:
            self.split_ascii = str.split
        elif self._scores[plain] == 1:
            self.split_ascii = fields_with_end
        self._cache = WordCache()

    def encode(self, words: Iterable[str], limit: int, tick: Callable[[], None] | None = None) -> list[int]:
        """The first ``limit`` token ids of words that stand after a space; later words are not looked at.

        ``words`` come without the ``▁`` that marks the space: it is put in front of each here. ``tick`` is
        called again and again, and may raise to stop.
        """
        return self._cache.encode(words, limit, partial(self._search, tick=tick), tick)

    def _search(self, word: str, limit: int, tick: Callable[[], None] | None = None) -> tuple[int, ...]:
        """Best segmentation of a word: Viterbi over character boundaries, linear in its length.

        At least ``limit`` ids of it, if it has as many; in a long word the search ends once they are settled.
        """
        word = "▁" + word
        size, longest = len(word), self._longest
        best = [0.0] + [float("-inf")] * size  # score of the best path to each boundary
        starts = [-1] * (size + 1)  # where the last piece of that path begins
        keys = [-1] * (size + 1)  # that piece's trie key, -1 for an unknown character
        scores, unknown_score = self._scores, self._unknown_score
        prefixes = self._trie.iter_prefixes_with_ids
        stop = look_back = _FIRST_LOOK_BACK
        for start in range(size):
            base = best[start]
            known = False
            next_boundary = start + 1
            for piece, key in prefixes(word[start : start + longest]):
                end = start + len(piece)
                score = base + scores[key]
                if score > best[end]:
                    best[end], starts[end], keys[end] = score, start, key
                if end == next_boundary:
                    known = True
            if not known and base + unknown_score > best[next_boundary]:
                best[next_boundary] = base + unknown_score
                starts[next_boundary], keys[next_boundary] = start, -1
            if start == stop:
                if tick is not None:
                    tick()
                if start == look_back:
                    look_back *= 2  # doubling keeps the looks back linear in all, even where paths never meet
                    ids = self._path(starts, keys, _meeting(starts, start, min(start + longest, size)))
                    if len(ids) >= limit:
                        return ids
                stop = min(look_back, start + _CHARACTERS_PER_TICK)
        return self._path(starts, keys, size)

    def _path(self, starts: list[int], keys: list[int], end: int) -> tuple[int, ...]:
        """Token ids of the best path to the boundary ``end``, unknown neighbours fused."""
        reverse: list[int] = []
        ids, unknown_before = self._ids, False
        while end > 0:
            key = keys[end]
            if key >= 0:
                reverse.append(ids[key])
            elif not unknown_before:
                reverse.append(self._unknown_id)
            unknown_before = key < 0
            end = starts[end]
        return tuple(reversed(reverse))


def _meeting(starts: list[int], done: int, reach: int) -> int:
    """The last boundary that the best path must pass through, whatever comes after position ``done``.

    Whatever it is, its first boundary beyond ``done`` is one that a piece begun at or before ``done`` has
    reached, and from there back it follows the links already made. So where the histories of all those
    boundaries meet, the past is settled.
    """
    open_ends = {end for end in range(done + 1, reach + 1) if starts[end] >= 0}
    while len(open_ends) > 1:
        last = max(open_ends)
        open_ends.remove(last)
        open_ends.add(starts[last])
    return open_ends.pop()
