"""Texts to the words that compiled vocabularies are searched for, where that takes no library."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any


def is_plain_ascii(text: str) -> bool:
    """Whether a text is ASCII without control characters, tab and line ends aside.

    A normalizer may remove control characters, and turns others of ASCII into white space or letters only.
    """
    if not text.isascii():
        return False
    return text.isprintable() or text.translate({9: " ", 10: " ", 13: " "}).isprintable()


def ascii_words(text: str, *, lowercase: bool) -> list[str]:
    """Returns the words of plain ASCII text as BERT splits it.

    They are runs of letters and digits, and each punctuation character by itself.
    """
    return _ascii_pattern().findall(text.lower() if lowercase else text)


def fields_with_end(text: str) -> list[str]:
    """Returns what ``str.split`` does, and an empty word where the text ends with white space.

    Of plain ASCII text these are the words of a normalizer that makes one space of each run of white space in
    front of Metaspace alone, which marks a space at the end by a lone ``▁``.
    """
    words = text.split()
    return [*words, ""] if text[-1:].isspace() else words


def metaspace_words(normalized: str, *, split_whitespace: bool) -> list[str]:
    """Words of normalized text, without the ``▁`` in front of each.

    What ``Metaspace`` (prepend always, split) does, after ``WhitespaceSplit`` if ``split_whitespace``; both
    as in the tokenizers library. An empty word stands for a lone ``▁``.
    """
    if not split_whitespace:
        return normalized.replace(" ", "▁").removeprefix("▁").split("▁") if normalized else []
    words = normalized.split()
    if any(separator in normalized for separator in "\x1c\x1d\x1e\x1f"):
        # str.split takes these for white space; Unicode does not, and neither does the library
        words = [word for word in _white_space().split(normalized) if word]
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


# Compiling a pattern takes 0.1 to 0.4 ms, which an import would spend before anyone asks for it.
@cache
def _ascii_pattern() -> re.Pattern[str]:
    return re.compile(r"[a-zA-Z0-9]+|[!-/:-@\[-`{-~]")


@cache
def _white_space() -> re.Pattern[str]:
    """Unicode's White_Space, which the library splits at."""
    return re.compile("[\t-\r \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
