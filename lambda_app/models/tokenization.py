"""Texts to token ids: the only owner of the tokenizers library.

Two kinds of tokenizer stand behind one class. ``library`` runs the tokenizers library whole (WordPiece and
others). ``unigram`` runs its normalizer only, and searches a compiled vocabulary (``unigram.py``): the
library would parse the 17 MB of XLM-R's ``tokenizer.json`` for about a second at every cold start. Plain
ASCII text needs no normalizer either, so a function that has seen nothing else has not imported the library.

Ids are those of the library, but for text that spells a control token (``</s>``, ``[SEP]``, ``<mask>``): to
the library that is the token itself, which lets a document end its own segment; here it is text like any
other.

Truncation and padding set in ``tokenizer.json`` are ignored (all-MiniLM-L6-v2's carries 128 of its own);
texts are cut to ``max_tokens``, pairs longest first, as the library cuts them.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from lambda_app.models.special_tokens import Frame, longest_first, parse_frames

if TYPE_CHECKING:
    from pathlib import Path

    from tokenizers import Tokenizer as LibraryTokenizer
    from tokenizers.normalizers import Normalizer

    from lambda_app.models.unigram import Unigram

TOKENIZER_JSON = "tokenizer.json"
_NO_LIMIT = 1 << 62
# In ASCII text, all that a normalizer may remove rather than turn into white space.
_ASCII_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
# Unicode's White_Space, which the library splits at.
_WHITE_SPACE = re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")


class TokenizerFiles(Protocol):
    """What is read of a model: its directory, and which kind of tokenizer was written there."""

    @property
    def directory(self) -> Path: ...
    @property
    def tokenizer_kind(self) -> Literal["library", "unigram"]: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """One row of model input: ``ids`` with special tokens and cut, ``type_ids`` (segments) as many."""

    ids: list[int]
    type_ids: list[int]
    truncated: bool


class Body(Protocol):
    """Token ids of texts without special tokens, at least the first ``limit`` of each."""

    def __call__(self, texts: Sequence[str], limit: int) -> list[list[int]]: ...
    def preload(self) -> None: ...


class Tokenizer:
    """Encodes single texts and pairs for one model. Safe to share between threads."""

    def __init__(self, body: Body, single: Frame, pair: Frame | None) -> None:
        """Join a way to tokenize text with the special tokens to put around it."""
        self._body = body
        self._single = single
        self._pair = pair

    def preload(self) -> None:
        """Load what the first text might wait for: the library, for one that is not plain ASCII."""
        self._body.preload()

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Token ids of one text, at most ``max_tokens`` with special tokens. Errors as ``encode_batch``."""
        return self.encode_batch([text], max_tokens)[0].ids

    def encode_pair(self, a: str, b: str, max_tokens: int) -> list[int]:
        """Token ids of a pair, at most ``max_tokens`` with special tokens. Errors as ``encode_pairs``."""
        return self.encode_pairs(a, [b], max_tokens)[0].ids

    def encode_batch(self, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
        """Encode texts, each cut to ``max_tokens`` with special tokens.

        Raises:
            ValueError: ``max_tokens`` leaves no room for the special tokens, or a text has a lone surrogate.
        """
        frame = self._single
        room = _room(frame, max_tokens)
        encodings = []
        # One more than fits tells a text that was cut from one that fits exactly.
        for ids in self._body(texts, room + 1):
            kept = ids[:room]
            encodings.append(Encoding(frame.fill(kept), frame.types(len(kept)), len(ids) > room))
        return encodings

    def encode_pairs(self, query: str, documents: Sequence[str], max_tokens: int) -> list[Encoding]:
        """Encode a query with each document, each pair cut to ``max_tokens``, longest first.

        The query is tokenized once.

        Raises:
            ValueError: the model has no template for pairs, ``max_tokens`` leaves no room for its special
                tokens, or a text has a lone surrogate.
        """
        frame = self._pair
        if frame is None:
            raise ValueError("this tokenizer has no template for pairs")
        room = _room(frame, max_tokens)
        # One token more than fits is enough to know the cut, unless the room is odd: then the odd token goes
        # to the longer text, and which that is takes both lengths.
        limit = room + 1 if room % 2 == 0 else _NO_LIMIT
        first, *others = self._body([query, *documents], limit)
        encodings = []
        for second in others:
            lengths = longest_first(len(first), len(second), room)
            ids = frame.fill(first[: lengths[0]], second[: lengths[1]])
            encodings.append(Encoding(ids, frame.types(*lengths), len(first) + len(second) > room))
        return encodings


def _room(frame: Frame, max_tokens: int) -> int:
    if max_tokens < frame.size:
        raise ValueError(f"max_tokens is {max_tokens}, but the special tokens alone are {frame.size}")
    return max_tokens - frame.size


class LibraryBody:
    """Tokenizes with the tokenizers library."""

    def __init__(self, tokenizer: LibraryTokenizer) -> None:
        """Take over a tokenizer: no truncation, no padding, and control tokens in a text are text."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """Token ids of texts, uncut."""
        _refuse_surrogates(texts)
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def preload(self) -> None:
        """Nothing is left to load."""


class UnigramBody:
    """Normalizes with the tokenizers library where text needs it, and searches the compiled pieces."""

    def __init__(self, path: Path, pieces: Unigram, *, split_whitespace: bool) -> None:
        """Join pieces with the normalizer in ``path``, which is not read before a text needs it."""
        self._path = path
        self._pieces = pieces
        self._split_whitespace = split_whitespace
        self._lock = threading.Lock()
        self._normalizer: Normalizer | None = None
        self._loaded = False

    def __call__(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """The first ``limit`` token ids of texts."""
        _refuse_surrogates(texts)
        return [self._pieces.encode(self._words(text), limit) for text in texts]

    def _words(self, text: str) -> list[str]:
        if self._pieces.plain_ascii and text.isascii() and not _ASCII_CONTROL.search(text):
            return text.split()
        if not self._loaded:
            self.preload()
        normalized = text if self._normalizer is None else self._normalizer.normalize_str(text)
        return bare_words(normalized, split_whitespace=self._split_whitespace)

    def preload(self) -> None:
        """Load the normalizer now rather than with the first text that is not plain ASCII."""
        with self._lock:
            if not self._loaded:
                self._normalizer = _read_library(self._path).normalizer
                self._loaded = True


def bare_words(normalized: str, *, split_whitespace: bool) -> list[str]:
    """Words of normalized text, without the ``▁`` in front of each.

    What ``Metaspace`` (prepend always, split) does, after ``WhitespaceSplit`` if ``split_whitespace``; both
    as in the tokenizers library. An empty word stands for a lone ``▁``.
    """
    if not split_whitespace:
        return normalized.replace(" ", "▁").removeprefix("▁").split("▁") if normalized else []
    words = normalized.split()
    if any(separator in normalized for separator in "\x1c\x1d\x1e\x1f"):
        # str.split takes these for white space; Unicode does not, and neither does the library
        words = [word for word in _WHITE_SPACE.split(normalized) if word]
    if "▁" not in normalized:
        return words
    return [bare for word in words for bare in word.removeprefix("▁").split("▁")]


def splits_whitespace(pre_tokenizer: Mapping[str, Any] | None) -> bool:
    """Whether white space is split before Metaspace, in which the two forms of XLM-R's files differ.

    Raises:
        ValueError: it is not Metaspace (prepend always, split), alone or after WhitespaceSplit.
    """
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    if pre_tokenizer == metaspace:
        return False
    if pre_tokenizer == {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]}:
        return True
    raise ValueError("the pre-tokenizer is not Metaspace with or without WhitespaceSplit")


def load_tokenizer(model: TokenizerFiles) -> Tokenizer:
    """Open the tokenizer of a model: ``tokenizer.json``, and for ``unigram`` the compiled pieces beside it.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what its name says, or holds a post-processor that is not supported.
    """
    path = model.directory / TOKENIZER_JSON
    if model.tokenizer_kind == "library":
        library = _read_library(path)
        post_processor = library.post_processor
        try:
            frames = parse_frames(post_processor and json.loads(post_processor.__getstate__()))
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
        return Tokenizer(LibraryBody(library), *frames)
    from lambda_app.models.unigram import Unigram  # numpy and marisa_trie, of no use to the other kind

    try:
        specification = json.loads(path.read_bytes())
        frames = parse_frames(specification["post_processor"])
        split = splits_whitespace(specification["pre_tokenizer"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error!r}") from error
    return Tokenizer(UnigramBody(path, Unigram(model.directory), split_whitespace=split), *frames)


def _read_library(path: Path) -> LibraryTokenizer:
    from tokenizers import Tokenizer as LibraryTokenizer  # 10-25 ms, spared until a text needs it

    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return LibraryTokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{path}: {error}") from error


def _refuse_surrogates(texts: Sequence[str]) -> None:
    """The library would answer a lone surrogate with a TypeError about the shape of its arguments."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text holds a lone surrogate at character {error.start}") from None
