"""Compiles the vocabulary of a WordPiece tokenizer."""

import json
import re
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from builder.tokenizer.control_tokens import control_pieces
from lambda_app.bundle import WORDPIECE_JSON
from lambda_app.models.tokenizer.pretokenize import ascii_words
from lambda_app.models.tokenizer.vocabulary import TABLE_FILE, TRIE_FILE
from lambda_app.models.tokenizer.wordpiece import RECORD

_BLOCK = 1 << 12


def wordpiece_obstacle(specification: Mapping[str, Any]) -> str:
    """Why a WordPiece tokenizer has to stay with the library; empty if it need not."""
    model = specification["model"]
    settings = {"type", "vocab", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word"}
    if set(model) != settings:
        return "the model has settings that are not known here"
    if model["unk_token"] not in model["vocab"]:
        return "the model has no unknown token"
    if not all(token["special"] for token in specification["added_tokens"]):
        return "it has added tokens that are not special"
    for part, expected in (("normalizer", "BertNormalizer"), ("pre_tokenizer", "BertPreTokenizer")):
        found = specification[part] and specification[part]["type"]
        if found != expected:
            return f"the {part.replace('_', '-')} is {found}, not {expected}"
    try:
        word_pattern()
    except ValueError as error:
        return str(error)
    return ""


def write_wordpiece(specification: Mapping[str, Any], out_dir: Path) -> None:
    """Write the compiled vocabulary, and what the function needs of the rest."""
    model, normalizer = specification["model"], specification["normalizer"]
    vocabulary: dict[str, int] = model["vocab"]
    # The unknown token is looked up like any other piece, as in the library; text that spells it means it.
    control = control_pieces(specification) - {model["unk_token"]}
    pieces = {piece: id_ for piece, id_ in vocabulary.items() if piece and piece not in control}
    trie = marisa_trie.Trie(sorted(pieces))
    table = np.zeros(len(trie), dtype=RECORD)
    for piece, id_ in pieces.items():
        table[trie.key_id(piece)] = id_
    trie.save(str(out_dir / TRIE_FILE))
    np.save(out_dir / TABLE_FILE, table, allow_pickle=False)
    description = {
        "post_processor": specification["post_processor"],
        "normalizer": normalizer,
        "plain_ascii": _plain_ascii(normalizer),
        "word_pattern": word_pattern(),
        "pieces": {
            "prefix": model["continuing_subword_prefix"],
            "unknown_id": vocabulary[model["unk_token"]],
            "longest_piece": max(map(len, pieces), default=1),
            "longest_word": model["max_input_chars_per_word"],
        },
    }
    (out_dir / WORDPIECE_JSON).write_text(json.dumps(description), encoding="utf-8")


@cache
def word_pattern() -> str:
    """A regular expression whose matches are BertPreTokenizer's words, for Python's ``re``.

    The library is asked about every character, because it and Python go by different versions of Unicode. It
    looks at one character at a time: white space separates, punctuation stands alone, others make words.

    Raises:
        ValueError: the matches are not the library's words after all.
    """
    pre_tokenize = BertPreTokenizer().pre_tokenize_str
    white_space: list[str] = []
    punctuation: list[str] = []
    texts = []
    for start in range(0, sys.maxunicode + 1, _BLOCK):
        block = [
            char for code in range(start, start + _BLOCK) if not "\ud800" <= (char := chr(code)) <= "\udfff"
        ]
        # A letter in front of each: any other of these words of one character is punctuation.
        texts.append("".join("a" + char for char in block))
        alone: set[int] = set()
        covered: set[int] = set()
        for _, (begin, end) in pre_tokenize(texts[-1]):
            covered.update(range(begin, end))
            if end - begin == 1:
                alone.add(begin)
        for index, char in enumerate(block):
            if 2 * index + 1 in alone:
                punctuation.append(char)
            elif 2 * index + 1 not in covered:
                white_space.append(char)
    pattern = f"[^{_ranges(white_space)}{_ranges(punctuation)}]+|[{_ranges(punctuation)}]"
    for text in texts:
        if re.findall(pattern, text) != [word for word, _ in pre_tokenize(text)]:
            raise ValueError("BertPreTokenizer's words are not found by a regular expression")
    return pattern


def _ranges(chars: Iterable[str]) -> str:
    """Characters as the inside of a regular expression's brackets."""
    codes = set(map(ord, chars))
    starts = sorted(code for code in codes if code - 1 not in codes)
    ends = sorted(code for code in codes if code + 1 not in codes)
    return "".join(f"\\U{start:08x}-\\U{end:08x}" for start, end in zip(starts, ends, strict=True))


def _plain_ascii(normalizer: Mapping[str, Any]) -> bool:
    """Whether ``ascii_words`` cuts plain ASCII text as normalizer and pre-tokenizer do.

    Asked of the library itself: in ASCII, where nothing composes, BertNormalizer looks at single characters,
    and BertPreTokenizer cuts where the kind of character changes, so all pairs of characters answer for all
    text.
    """
    alphabet = [chr(code) for code in range(32, 127)] + ["\t", "\n", "\r"]
    texts = ["".join(pair) for pair in product(alphabet, repeat=2)]
    texts += ["a" + pair + "Z" for pair in texts]
    settings = {key: value for key, value in normalizer.items() if key != "type"}
    normalize, pre_tokenize = BertNormalizer(**settings).normalize_str, BertPreTokenizer().pre_tokenize_str
    return all(
        [word for word, _ in pre_tokenize(normalize(text))]
        == ascii_words(text, lowercase=normalizer["lowercase"])
        for text in texts
    )
