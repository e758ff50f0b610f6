"""Texts and pairs to rows of model input: special tokens, truncation, segment ids.

A :class:`Tokenizer` joins a :class:`TokenizerBackend`, which gives the ids of plain text, with the model's
special-token templates. ``load.py`` opens one for a model; ``compiled.py`` and ``huggingface.py`` hold the
backends.

Ids are those of the tokenizers library, except for text that spells a control token (``</s>``, ``[SEP]``,
``<mask>``). The library takes it for the token itself, which lets a document end its own segment; here it is
text like any other. Truncation and padding set in ``tokenizer.json`` are ignored (all-MiniLM-L6-v2's carries
128 of its own); texts are truncated to ``max_tokens``, pairs longest first, as the library does it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple, Protocol

from lambda_app.models.tokenizer.templates import Template, longest_first

Decoder = Callable[[int], str]
# The side that a text which is too long loses.
TruncationSide = Literal["left", "right"]
# Called while a long text is tokenized; may raise to stop.
Tick = Callable[[], None]
_NO_LIMIT = 1 << 62
# Tokens whose texts are looked up between two calls of a tick.
_NAMED_AT_ONCE = 4_096


class Encoding(NamedTuple):
    """One row of model input.

    ``ids`` are truncated and have their special tokens; ``type_ids`` (segments) are as many.
    """

    ids: list[int]
    type_ids: list[int]
    truncated: bool


class Token(NamedTuple):
    """One token; ``special`` ones come from the model's template, not from a text."""

    id: int
    text: str
    special: bool


class TokenizerBackend(Protocol):
    """Tokenizes texts without special tokens."""

    def __call__(self, texts: Sequence[str], limit: int, tick: Tick | None = None) -> list[list[int]]:
        """Returns at least the first ``limit`` token ids of each text, or all where it has fewer.

        ``tick`` is called again and again where the work is in Python.
        """
        ...


class Tokenizer:
    """Encodes single texts and pairs for one model. Safe to share between threads."""

    def __init__(
        self,
        backend: TokenizerBackend,
        single: Template,
        pair: Template | None,
        load_decoder: Callable[[], Decoder] | None = None,
    ) -> None:
        """Joins a backend with the templates of single texts and of pairs.

        ``load_decoder`` opens the decoder of token ids, which only :meth:`tokens` needs.
        """
        self._backend = backend
        self._single = single
        self._pair = pair
        self._load_decoder = load_decoder
        self._decoder: Decoder | None = None

    @property
    def special_tokens(self) -> int:
        """Number of special tokens around a single text."""
        return self._single.size

    def encode(self, text: str, max_tokens: int) -> list[int]:
        """Returns the token ids of one text, at most ``max_tokens`` with special tokens.

        Raises:
            ValueError: as :meth:`encode_batch`.
        """
        return self.encode_batch([text], max_tokens)[0].ids

    def encode_pair(self, a: str, b: str, max_tokens: int) -> list[int]:
        """Returns the token ids of a pair, at most ``max_tokens`` with special tokens.

        Raises:
            ValueError: as :meth:`encode_pairs`.
        """
        return self.encode_pairs(a, [b], max_tokens)[0].ids

    def encode_batch(
        self,
        texts: Sequence[str],
        max_tokens: int,
        *,
        truncation_side: TruncationSide = "right",
        keep_first: int = 0,
        tick: Tick | None = None,
    ) -> list[Encoding]:
        """Encodes texts, each truncated to ``max_tokens`` with special tokens.

        A text that loses its left side keeps its first ``keep_first`` tokens, such as its prompt.

        Raises:
            ValueError: ``max_tokens`` is less than the special tokens, or a text has a lone surrogate.
        """
        template = self._single
        budget = _text_budget(template, max_tokens)
        _refuse_surrogates(texts)
        encodings = []
        # One more than fits distinguishes a text that is too long from one that fits exactly.
        limit = budget + 1 if truncation_side == "right" else _NO_LIMIT
        for ids in self._backend(texts, limit, tick):
            kept = _truncated(ids, budget, truncation_side, keep_first)
            encodings.append(Encoding(template.fill(kept), template.types(len(kept)), len(ids) > budget))
        return encodings

    def encode_pairs(
        self,
        query: str,
        documents: Sequence[str],
        max_tokens: int,
        *,
        truncation_side: TruncationSide = "right",
        max_document_tokens: int | None = None,
    ) -> list[Encoding]:
        """Encodes a query with each document: see :meth:`pair_encoder`."""
        encode = self.pair_encoder(
            query,
            max_tokens,
            truncation_side=truncation_side,
            max_document_tokens=max_document_tokens,
        )
        return encode(documents)

    def pair_encoder(
        self,
        query: str,
        max_tokens: int,
        *,
        truncation_side: TruncationSide = "right",
        max_document_tokens: int | None = None,
        tick: Tick | None = None,
    ) -> Callable[[Sequence[str]], list[Encoding]]:
        """Returns a function that encodes the query with each document, however often it is called.

        The query is tokenized once, now. Each pair is truncated to ``max_tokens``, longest first;
        ``max_document_tokens`` bounds a document by itself.

        Raises:
            ValueError: the model has no template for pairs, ``max_tokens`` is less than its special tokens,
                or a text has a lone surrogate.
        """
        template = self._pair
        if template is None:
            raise ValueError("this tokenizer has no template for pairs")
        budget = _text_budget(template, max_tokens)
        _refuse_surrogates([query])
        # One token more than fits shows what is too long, unless the budget is odd: the odd token then goes
        # to the longer text, and which one that is depends on both lengths.
        limit = budget + 1 if budget % 2 == 0 and truncation_side == "right" else _NO_LIMIT
        (first,) = self._backend([query], limit, tick)

        def encode(documents: Sequence[str]) -> list[Encoding]:
            _refuse_surrogates(documents)
            encodings = []
            for second in self._backend(documents, limit, tick):
                wanted = len(second) if max_document_tokens is None else min(len(second), max_document_tokens)
                lengths = longest_first(len(first), wanted, budget)
                ids = template.fill(
                    _truncated(first, lengths[0], truncation_side),
                    _truncated(second, lengths[1], truncation_side),
                )
                truncated = sum(lengths) < len(first) + len(second)
                encodings.append(Encoding(ids, template.types(*lengths), truncated))
            return encodings

        return encode

    def ids(self, texts: Sequence[str], limit: int = _NO_LIMIT, tick: Tick | None = None) -> list[list[int]]:
        """Returns at least the first ``limit`` token ids of texts, without special ones.

        Raises:
            ValueError: a text has a lone surrogate.
        """
        _refuse_surrogates(texts)
        return self._backend(texts, limit, tick)

    def named(
        self, rows: Iterable[Sequence[int]], *, special: bool, tick: Tick | None = None
    ) -> list[list[Token]]:
        """Returns token ids with their texts; with ``special``, those that the model adds are around them.

        Raises:
            ValueError: the tokenizer's files cannot be read.
        """
        if self._decoder is None:
            if self._load_decoder is None:
                raise ValueError("this tokenizer has no decoder")
            self._decoder = self._load_decoder()
        text = cache(self._decoder)
        before, after = (
            [Token(token, text(token), True) for token in run] for run in self._single.special_ids
        )
        found = []
        for ids in rows:
            row: list[Token] = []
            for start in range(0, len(ids), _NAMED_AT_ONCE):
                if tick is not None:
                    tick()
                row += [Token(token, text(token), False) for token in ids[start : start + _NAMED_AT_ONCE]]
            found.append([*before, *row, *after] if special else row)
        return found


def _truncated(ids: list[int], budget: int, side: TruncationSide, keep_first: int = 0) -> list[int]:
    if len(ids) <= budget:
        return ids
    if side == "right":
        return ids[:budget]
    keep_first = min(keep_first, budget)
    return ids[:keep_first] + ids[len(ids) - (budget - keep_first) :]


def _text_budget(template: Template, max_tokens: int) -> int:
    """Returns the tokens that are left for texts beside the template's special ones."""
    if max_tokens < template.size:
        raise ValueError(f"max_tokens is {max_tokens}, but the special tokens alone are {template.size}")
    return max_tokens - template.size


def _refuse_surrogates(texts: Sequence[str]) -> None:
    """Raises a ValueError, where the library would raise a TypeError about the shape of its arguments."""
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"a text holds a lone surrogate at character {error.start}") from None
