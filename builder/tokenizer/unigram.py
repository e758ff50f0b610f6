"""Compiles the vocabulary of a Unigram tokenizer.

Scores are taken from the library's own reading of the file, not from Python's: a float parsed one bit
differently would decide some tie the other way.
"""

import json
from collections.abc import Callable, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
from tokenizers import Tokenizer as LibraryTokenizer

from builder.tokenizer.control_tokens import UNMATCHABLE, control_pieces
from lambda_app.models.tokenizer.pretokenize import fields_with_end, splits_whitespace
from lambda_app.models.tokenizer.unigram import RECORD, TRAILER
from lambda_app.models.tokenizer.vocabulary import TABLE_FILE, TRIE_FILE

_UNKNOWN_PENALTY = 10.0  # kUnkPenalty, unigram_model.cc of sentencepiece


def unigram_obstacle(specification: Mapping[str, Any]) -> str:
    """Why a Unigram tokenizer has to stay with the library; empty if it need not."""
    model = specification["model"]
    if set(model) - {"type", "unk_id", "vocab", "byte_fallback"}:
        return "the model has settings that are not known here"
    if model.get("byte_fallback"):
        return "the model falls back to bytes"
    if model.get("unk_id") is None:
        return "the model has no unknown token"
    if not all(token["special"] for token in specification["added_tokens"]):
        return "it has added tokens that are not special"
    scores = [score for _, score in model["vocab"]]
    if max(scores) > 0 or not all(piece for piece, _ in model["vocab"]):
        # above zero, two unknown characters could be worth more than the piece that they spell
        return "a piece is empty or has a score above zero"
    try:
        splits_whitespace(specification["pre_tokenizer"])
    except ValueError as error:
        return str(error)
    return ""


def write_unigram(specification: Mapping[str, Any], out_dir: Path) -> dict[str, Any]:
    """Write the compiled vocabulary; returns the specification without it, but for the unknown token."""
    vocabulary: list[tuple[str, float]] = specification["model"]["vocab"]
    control = control_pieces(specification)
    # of a piece that is there twice the last one counts, as in the library
    pieces = {piece: (score, id_) for id_, (piece, score) in enumerate(vocabulary) if piece not in control}
    trie = marisa_trie.Trie(sorted(pieces))
    table = np.zeros(len(trie) + TRAILER, dtype=RECORD)
    for piece, record in pieces.items():
        table[trie.key_id(piece)] = record
    unknown_score = min(score for _, score in vocabulary) - _UNKNOWN_PENALTY
    table[-TRAILER] = (unknown_score, specification["model"]["unk_id"])
    table[-2] = (0.0, max(map(len, pieces), default=1))
    split_ascii = _ascii_splitter(specification)
    table[-1] = (split_ascii is fields_with_end, split_ascii is str.split)
    trie.save(str(out_dir / TRIE_FILE))
    np.save(out_dir / TABLE_FILE, table, allow_pickle=False)
    model = specification["model"]
    unknown = vocabulary[model["unk_id"]][0]
    return {**specification, "model": {**model, "vocab": [[unknown, 0.0]], "unk_id": 0}}


def _ascii_splitter(specification: Mapping[str, Any]) -> Callable[[str], list[str]] | None:
    """Which function cuts ASCII text without control characters into the same words, None if neither does.

    Asked of the library itself: normalizers of these types look at a character and its neighbour, or at a run
    of spaces, so every pair of characters and every short run of the ones that matter answers for all text.
    """
    normalizer = specification["normalizer"]
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
    if not all(_is_local(step) for step in steps):
        return None
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[UNMATCHABLE, 0.0]], "byte_fallback": False}
    library = LibraryTokenizer.from_str(json.dumps({**specification, "model": model, "added_tokens": []}))
    alphabet = [chr(code) for code in range(32, 127)] + ["\t", "\n", "\r"]
    texts = ["".join(pair) for pair in product(alphabet, repeat=2)]
    texts += ["a" + pair + "b" for pair in texts]
    texts += ["".join(run) for length in range(6) for run in product(" \n\ra", repeat=length)]
    found = library.encode_batch(texts, add_special_tokens=False)
    expected = [one.tokens for one in found]
    splitters: tuple[Callable[[str], list[str]], ...] = (str.split, fields_with_end)
    for split in splitters:
        if [["▁" + word for word in split(text)] for text in texts] == expected:
            return split
    return None


def _is_local(step: Mapping[str, Any] | None) -> bool:
    if step is None or step["type"] in ("Precompiled", "Strip"):
        return True
    return (
        step["type"] == "Replace" and step["pattern"] == {"Regex": " {2,}"} and step["content"] in (" ", "▁")
    )
