"""A Unigram tokenizer of XLM-R's structure and size, synthesized around a few trained entries."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.dev.tiny_tokenizers import unigram_specification

ENTRIES = 250_002
_SEED = 0
# A word's score falls with its rank, as in a trained vocabulary (Zipf).
_FIRST_SCORE, _LAST_SCORE = -5.0, -12.5
_SCRIPTS = {
    "Chinese": [chr(code) for code in range(0x4E00, 0x5E00)],
    "Japanese": [
        chr(code) for code in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), *range(0x4E00, 0x5200))
    ],
    "Thai": [chr(code) for code in (*range(0x0E01, 0x0E2F), *range(0x0E40, 0x0E45))],
}


def synthetic_specification(rng: random.Random) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """Returns a ``tokenizer.json`` of 250,002 entries, and words of each language for texts."""
    specification: dict[str, Any] = json.loads(unigram_specification())
    vocabulary: dict[str, float] = dict(specification["model"]["vocab"][:-1])
    words: dict[str, list[str]] = {"English": []}
    while len(vocabulary) < 90_000:
        word = _syllables(rng)
        if vocabulary.setdefault(rng.choice(("▁", "▁", "")) + word, -8.0 - rng.random() * 6) != 0:
            words["English"].append(word)
    for count, (script, letters) in enumerate(_SCRIPTS.items()):
        words[script] = [*letters]
        vocabulary.update((letter, -9.0 - rng.random() * 4) for letter in letters)
        while len(vocabulary) < 90_000 + 53_000 * (count + 1):
            word = "".join(
                letters[int(len(letters) * rng.random() ** 3)] for _ in range(rng.choice((2, 2, 2, 3, 4)))
            )
            vocabulary.setdefault(word, -9.0 - rng.random() * 5)
            words[script].append(word)
    while len(vocabulary) < ENTRIES - 1:
        vocabulary.setdefault(_syllables(rng) + _syllables(rng), -12.0 - rng.random() * 3)
    words["English"] = words["English"][:20_000]
    kept = [list(item) for item in list(vocabulary.items())[: ENTRIES - 1]]
    specification["model"]["vocab"] = [*kept, ["<mask>", 0.0]]
    specification["added_tokens"][-1]["id"] = ENTRIES - 1
    return specification, words


def specification_with_words(words: Sequence[str]) -> dict[str, Any]:
    """Returns a ``tokenizer.json`` of 250,002 entries with real words among them, frequent ones first."""
    specification, _ = synthetic_specification(random.Random(_SEED))
    vocabulary: list[list[Any]] = specification["model"]["vocab"]
    taken = {piece for piece, _ in vocabulary}
    pieces = [piece for word in words for piece in ("▁" + word, word) if piece not in taken]
    # The last entry is <mask>; random syllables stand before it, and can be replaced.
    places = range(len(vocabulary) - 2, len(vocabulary) - 2 - len(pieces), -1)
    for rank, (place, piece) in enumerate(zip(places, pieces, strict=True)):
        score = _FIRST_SCORE + (_LAST_SCORE - _FIRST_SCORE) * rank / len(pieces)
        vocabulary[place] = [piece, score if piece.startswith("▁") else score - 1]
    return specification


def english_words(tokenizer: Path) -> list[str]:
    """Returns whole words of a WordPiece vocabulary in its own order, which is about that of their frequency.

    ``tokenizer`` is a directory with a ``tokenizer.json``.
    """
    vocabulary: dict[str, int] = json.loads((tokenizer / "tokenizer.json").read_bytes())["model"]["vocab"]
    ordered = sorted(vocabulary, key=lambda piece: vocabulary[piece])
    return [piece for piece in ordered if piece.isascii() and piece.isalpha() and len(piece) > 1]


def _syllables(rng: random.Random) -> str:
    return "".join(
        rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") + rng.choice(("", "", "n", "s"))
        for _ in range(rng.randint(1, 4))
    )
