"""Texts to token ids.

Three kinds of tokenizer stand behind one class. ``library`` runs the tokenizers library whole
(``library.py``). ``wordpiece`` and ``unigram`` take no more of it than the normalizer and the pre-tokenizer,
and search a compiled vocabulary (``wordpiece.py``, ``unigram.py``): at every cold start the library would
parse BERT's ``tokenizer.json`` for 25 ms, XLM-R's for about a second. Plain ASCII text needs no normalizer
either, so a function that has seen nothing else has not imported the library.

Ids are those of the library, but for text that spells a control token (``</s>``, ``[SEP]``, ``<mask>``): to
the library that is the token itself, which lets a document end its own segment; here it is text like any
other.

Truncation and padding set in ``tokenizer.json`` are ignored (all-MiniLM-L6-v2's carries 128 of its own);
texts are cut to ``max_tokens``, pairs longest first, as the library cuts them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from lambda_app.models.tokenizer.pretokenize import ascii_words, is_plain_ascii, splits_whitespace
from lambda_app.models.tokenizer.templates import Frame, longest_first, parse_frames

if TYPE_CHECKING:
    from pathlib import Path

    from lambda_app.bundle import TokenizerKind

TOKENIZER_JSON = "tokenizer.json"
WORDPIECE_JSON = "wordpiece.json"
"""Beside a compiled WordPiece vocabulary: all that is needed of ``tokenizer.json`` but the vocabulary. The
whole ``tokenizer.json`` stays for whoever looks for it; it is not read here."""
_NO_LIMIT = 1 << 62

Words = Callable[[str], list[str]]
TokenTexts = Callable[[int], str]
# Which end of a text goes where it is too long.
Side = Literal["start", "end"]


class TokenizerFiles(Protocol):
    """What is read of a model: its directory, and which kind of tokenizer was written there."""

    @property
    def directory(self) -> Path: ...
    @property
    def tokenizer_kind(self) -> TokenizerKind: ...


class Encoding(NamedTuple):
    """One row of model input: ``ids`` with special tokens and cut, ``type_ids`` (segments) as many."""

    ids: list[int]
    type_ids: list[int]
    truncated: bool


class Token(NamedTuple):
    """One token; ``special`` ones come from the model's template, not from a text."""

    id: int
    text: str
    special: bool


class Body(Protocol):
    """Token ids of texts without special tokens, at least the first ``limit`` of each."""

    def __call__(self, texts: Sequence[str], limit: int) -> list[list[int]]: ...
    def preload(self) -> None: ...


class Tokenizer:
    """Encodes single texts and pairs for one model. Safe to share between threads."""

    def __init__(
        self,
        body: Body,
        single: Frame,
        pair: Frame | None,
        load_texts: Callable[[], TokenTexts] | None = None,
    ) -> None:
        """Join a way to tokenize text with the special tokens to put around it. ``load_texts`` gives the
        way back from ids, which only :meth:`tokens` needs."""
        self._body = body
        self._single = single
        self._pair = pair
        self._load_texts = load_texts
        self._token_text: TokenTexts | None = None

    @property
    def special_tokens(self) -> int:
        """How many special tokens stand around a single text."""
        return self._single.size

    def preload(self) -> None:
        """Load what the first text might wait for: the library, for one that is not plain ASCII."""
        self._body.preload()

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Token ids of one text, at most ``max_tokens`` with special tokens. Errors as ``encode_batch``."""
        return self.encode_batch([text], max_tokens)[0].ids

    def encode_pair(self, a: str, b: str, max_tokens: int) -> list[int]:
        """Token ids of a pair, at most ``max_tokens`` with special tokens. Errors as ``encode_pairs``."""
        return self.encode_pairs(a, [b], max_tokens)[0].ids

    def encode_batch(
        self, texts: Sequence[str], max_tokens: int, *, cut: Side = "end", head: int = 0
    ) -> list[Encoding]:
        """Encode texts, each cut to ``max_tokens`` with special tokens.

        ``cut`` says where; the first ``head`` tokens of a text, such as its prompt, stay in any case.

        Raises:
            ValueError: ``max_tokens`` leaves no room for the special tokens, or a text has a lone surrogate.
        """
        frame = self._single
        room = _room(frame, max_tokens)
        _refuse_surrogates(texts)
        encodings = []
        # One more than fits tells a text that was cut from one that fits exactly.
        for ids in self._body(texts, room + 1 if cut == "end" else _NO_LIMIT):
            kept = _kept(ids, room, cut, head)
            encodings.append(Encoding(frame.fill(kept), frame.types(len(kept)), len(ids) > room))
        return encodings

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens: int,
        *,
        cut: Side = "end",
        document_tokens: int | None = None,
    ) -> list[Encoding]:
        """Encode a query with each document, each pair cut to ``max_tokens``, longest first.

        The query is tokenized once. ``document_tokens`` is the most that a document may have of them.

        Raises:
            ValueError: the model has no template for pairs, ``max_tokens`` leaves no room for its special
                tokens, or a text has a lone surrogate.
        """
        frame = self._pair
        if frame is None:
            raise ValueError("this tokenizer has no template for pairs")
        room = _room(frame, max_tokens)
        texts = [query, *documents]
        _refuse_surrogates(texts)
        # One token more than fits is enough to know the cut, unless the room is odd: then the odd token goes
        # to the longer text, and which that is takes both lengths.
        limit = room + 1 if room % 2 == 0 and cut == "end" else _NO_LIMIT
        first, *others = self._body(texts, limit)
        encodings = []
        for second in others:
            most = len(second) if document_tokens is None else min(len(second), document_tokens)
            lengths = longest_first(len(first), most, room)
            ids = frame.fill(_kept(first, lengths[0], cut), _kept(second, lengths[1], cut))
            truncated = sum(lengths) < len(first) + len(second)
            encodings.append(Encoding(ids, frame.types(*lengths), truncated))
        return encodings

    def tokens(self, texts: Sequence[str], *, special: bool) -> list[list[Token]]:
        """The tokens of texts, uncut; with ``special``, those that the model adds too.

        Raises:
            ValueError: a text has a lone surrogate, or the tokenizer's files cannot be read.
        """
        _refuse_surrogates(texts)
        if self._token_text is None:
            if self._load_texts is None:
                raise ValueError("this tokenizer knows no texts of its tokens")
            self._token_text = self._load_texts()
        text = self._token_text
        found = []
        for ids in self._body(texts, _NO_LIMIT):
            row = [Token(token, text(token), False) for token in ids]
            if special:
                before, after = (
                    [Token(token, text(token), True) for token in run] for run in self._single.runs
                )
                row = [*before, *row, *after]
            found.append(row)
        return found


def _kept(ids: list[int], room: int, cut: Side, head: int = 0) -> list[int]:
    if len(ids) <= room:
        return ids
    if cut == "end":
        return ids[:room]
    head = min(head, room)
    return ids[:head] + ids[len(ids) - (room - head) :]


def _room(frame: Frame, max_tokens: int) -> int:
    if max_tokens < frame.size:
        raise ValueError(f"max_tokens is {max_tokens}, but the special tokens alone are {frame.size}")
    return max_tokens - frame.size


class Pieces(Protocol):
    """A compiled vocabulary: the first ``limit`` token ids of words."""

    def encode(self, words: Iterable[str], limit: int) -> list[int]: ...


class CompiledBody:
    """Searches a compiled vocabulary for words, which take the tokenizers library where the text needs it."""

    def __init__(self, pieces: Pieces, plain_words: Words | None, load_words: Callable[[], Words]) -> None:
        """Join pieces with two ways to cut a text into words: ``plain_words`` for plain ASCII if that needs
        no normalizer, and for others what ``load_words`` gives, not called before a text needs it."""
        self._pieces = pieces
        self._plain_words = plain_words
        self._load_words = load_words
        self._lock = threading.Lock()
        self._library_words: Words | None = None

    def __call__(self, texts: Sequence[str], limit: int) -> list[list[int]]:
        """The first ``limit`` token ids of texts."""
        return [self._pieces.encode(self._words(text), limit) for text in texts]

    def _words(self, text: str) -> list[str]:
        if self._plain_words is not None and is_plain_ascii(text):
            return self._plain_words(text)
        return (self._library_words or self._load())(text)

    def preload(self) -> None:
        """Load the normalizer now rather than with the first text that is not plain ASCII."""
        self._load()

    def _load(self) -> Words:
        with self._lock:
            if self._library_words is None:
                self._library_words = self._load_words()
            return self._library_words


def load_tokenizer(model: TokenizerFiles) -> Tokenizer:
    """Open the tokenizer of a model: ``tokenizer.json`` or what was compiled from it.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what its name says, or holds a post-processor that is not supported.
    """
    if model.tokenizer_kind == "unigram":
        return _load_unigram(model)
    if model.tokenizer_kind == "wordpiece":
        return _load_wordpiece(model)
    from lambda_app.models.tokenizer.huggingface import (  # imports tokenizers: 10-25 ms
        LibraryBody,
        read_library,
    )

    path = model.directory / TOKENIZER_JSON
    library = read_library(path)
    post_processor = library.post_processor
    try:
        frames = parse_frames(post_processor and json.loads(post_processor.__getstate__()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Tokenizer(LibraryBody(library), *frames, partial(_load_texts, model))


def _load_texts(model: TokenizerFiles) -> TokenTexts:
    from lambda_app.models.tokenizer.decode import load_token_texts

    return load_token_texts(model.directory, model.tokenizer_kind)


def _load_unigram(model: TokenizerFiles) -> Tokenizer:
    from lambda_app.models.tokenizer.unigram import (
        Unigram,  # numpy and marisa_trie, of no use to the library's kind
    )

    path = model.directory / TOKENIZER_JSON
    try:
        specification: Any = json.loads(path.read_bytes())
        frames = parse_frames(specification["post_processor"])
        split = splits_whitespace(specification["pre_tokenizer"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error!r}") from error

    def load_words() -> Words:
        from lambda_app.models.tokenizer.huggingface import unigram_words

        return unigram_words(path, split_whitespace=split)

    pieces = Unigram(model.directory)
    body = CompiledBody(pieces, str.split if pieces.plain_ascii else None, load_words)
    return Tokenizer(body, *frames, partial(_load_texts, model))


def _load_wordpiece(model: TokenizerFiles) -> Tokenizer:
    from lambda_app.models.tokenizer.wordpiece import Settings, WordPiece

    path = model.directory / WORDPIECE_JSON
    try:
        description: Any = json.loads(path.read_bytes())
        frames = parse_frames(description["post_processor"])
        normalizer, pattern = description["normalizer"], description["word_pattern"]
        plain_words = partial(ascii_words, lowercase=normalizer["lowercase"])
        settings = Settings(**description["pieces"])
        plain_ascii = description["plain_ascii"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error!r}") from error

    def load_words() -> Words:
        from lambda_app.models.tokenizer.huggingface import wordpiece_words

        return wordpiece_words(normalizer, pattern)

    pieces = WordPiece(model.directory, settings)
    body = CompiledBody(pieces, plain_words if plain_ascii else None, load_words)
    return Tokenizer(body, *frames, partial(_load_texts, model))


def _refuse_surrogates(texts: Sequence[str]) -> None:
    """The library would answer a lone surrogate with a TypeError about the shape of its arguments."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text holds a lone surrogate at character {error.start}") from None
