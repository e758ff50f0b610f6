"""The compiled Unigram tokenizer against the tokenizers library: opening, memory, and encoding.

    python -m benchmarks.tokenizer [--source tokenizer.json]

Without a source, a vocabulary of 250,002 entries is made: a few trained ones, then words of random syllables
and of random characters of unspaced scripts, scored by a Zipf law. Ids are compared before anything is timed.
Times are medians of interleaved rounds in one process; opening is measured in processes of its own, without
imports.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as LibraryTokenizer

from benchmarks.harness.synthetic_tokenizer import synthetic_specification
from benchmarks.measure.tokenizer_opening import CompiledTokenizer
from builder.tokenizer.compile import compile_tokenizer
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Tokenizer

_ROUNDS = 31
_CHECKED_TEXTS = 60
_MAX_TOKENS = 512


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a Unigram tokenizer.json, instead of a synthetic one")
    source: Path | None = parser.parse_args().source
    rng = random.Random(1)
    specification, words = synthetic_specification(rng)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        original, compiled = root / "source", root / "compiled"
        original.mkdir()
        text = source.read_text(encoding="utf-8") if source else json.dumps(specification, ensure_ascii=False)
        (original / "tokenizer.json").write_text(text, encoding="utf-8")
        print(compile_tokenizer(original / "tokenizer.json", compiled))
        _print_opening({"compiled": compiled, "library": original})
        ours = load_tokenizer(CompiledTokenizer(compiled))
        library = LibraryTokenizer.from_file(str(original / "tokenizer.json"))
        _print_encoding(ours, library, _texts(rng, words))


def _texts(rng: random.Random, words: dict[str, list[str]]) -> dict[str, Callable[[], str]]:
    """Returns what makes the texts of each row of the table: another one at each call."""
    accented = [word.replace("a", "\u00e1") for word in words["English"]]
    return {
        **{f"{name}, unseen": partial(_text, rng, name, choice, 330) for name, choice in words.items()},
        "accented Latin, unseen": partial(_text, rng, "English", accented, 330),
        "100,000 characters of English": partial(_text, rng, "English", words["English"], 14_000),
        "100,000 characters of Chinese": partial(_text, rng, "Chinese", words["Chinese"], 45_000),
        "100,000 times 'a'": lambda: "a" * 100_000,
    }


def _text(rng: random.Random, language: str, words: list[str], length: int) -> str:
    picked = [words[int(len(words) * rng.random() ** 4)] for _ in range(length)]
    if language != "English":
        return "".join(picked)
    return " ".join(word.capitalize() + "." if rng.random() < 0.1 else word for word in picked)


def _print_opening(directories: dict[str, Path]) -> None:
    _print_row("opening", "load ms", "ASCII text ms", "other text ms", "load MB", "MB after")
    for kind, directory in directories.items():
        command = [sys.executable, "-m", "benchmarks.measure.tokenizer_opening", kind, str(directory)]
        rounds = []
        for _ in range(7 if kind == "compiled" else 3):
            child = subprocess.run(command, check=True, capture_output=True, text=True)
            rounds.append([float(value) for value in child.stdout.split()])
        _print_row(f"  {kind}", *(f"{statistics.median(column):.2f}" for column in zip(*rounds, strict=True)))


def _print_encoding(ours: Tokenizer, library: Any, texts: dict[str, Callable[[], str]]) -> None:
    titles = ("compiled ms", "library ms", "and cutting", "ratio to best", "characters")
    _print_row(f"encoding, {_MAX_TOKENS} tokens", *titles)
    for name, make in texts.items():
        library.no_truncation()
        _check_ids(name, ours, library, make)
        mine, uncut, cut, characters = _time_encoding(ours, library, make)
        times = [f"{value:.3f}" for value in (mine, uncut, cut, mine / min(uncut, cut))]
        _print_row(f"  {name}", *times, f"{characters:.0f}")


def _check_ids(name: str, ours: Tokenizer, library: Any, make: Callable[[], str]) -> None:
    for _ in range(_CHECKED_TEXTS):
        text = make()
        expected = library.encode(text).ids
        if len(expected) > _MAX_TOKENS:
            expected = [*expected[: _MAX_TOKENS - 1], expected[-1]]
        if ours.encode(text, _MAX_TOKENS) != expected:
            raise SystemExit(f"{name}: ids differ")


def _time_encoding(ours: Tokenizer, library: Any, make: Callable[[], str]) -> list[float]:
    """Returns medians: ours, the library without and with truncation (milliseconds), and characters."""
    rounds = []
    for _ in range(_ROUNDS):
        text = make()
        mine = _milliseconds(partial(ours.encode, text, _MAX_TOKENS))
        uncut = _milliseconds(partial(_library_ids, library, text))
        library.enable_truncation(_MAX_TOKENS)
        # Another text: the library has just put the words of the first one in its cache.
        rounds.append((mine, uncut, _milliseconds(partial(_library_ids, library, make())), len(text)))
        library.no_truncation()
    return [statistics.median(column) for column in zip(*rounds, strict=True)]


def _library_ids(library: Any, text: str) -> list[int]:
    ids: list[int] = library.encode_batch_fast([text])[0].ids
    return ids


def _milliseconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return (time.perf_counter() - began) * 1e3


def _print_row(name: str, *values: str) -> None:
    print(f"{name:46}" + "".join(f"{value:>14}" for value in values))


if __name__ == "__main__":
    main()
