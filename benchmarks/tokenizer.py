"""Compiled Unigram tokenizer against the tokenizers library: opening, memory, and encoding at 250,002 pieces.

    python -m benchmarks.tokenizer [--source tokenizer.json]

Without a source, the vocabulary is made: the tests' trained pieces, then words of random syllables and of
random characters of unspaced scripts, scored by a Zipf law. Ids are compared before anything is timed. Times
are medians of interleaved rounds in one process; opening is measured in processes of its own, imports apart
from it.
"""

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

from builder.tokenizer.compile import compile_tokenizer
from lambda_app.models.tokenizer.tokenizer import load_tokenizer
from tests.support.tokenizers_factory import TokenizerModel, unigram_specification

_PIECES = 250_002
_ROUNDS = 31
_SCRIPTS = {
    "Chinese": [chr(code) for code in range(0x4E00, 0x5E00)],
    "Japanese": [
        chr(code) for code in (*range(0x3041, 0x3094), *range(0x30A1, 0x30F7), *range(0x4E00, 0x5200))
    ],
    "Thai": [chr(code) for code in (*range(0x0E01, 0x0E2F), *range(0x0E40, 0x0E45))],
}
_CHILD = """
import sys, time
from pathlib import Path
def rss():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
kind, path = sys.argv[1], Path(sys.argv[2])
if kind == "compiled":
    import marisa_trie, numpy
    from lambda_app.models.tokenizer.tokenizer import load_tokenizer
    import lambda_app.models.tokenizer.unigram
    from tests.support.tokenizers_factory import TokenizerModel
    model = TokenizerModel(path, "unigram")
else:
    from tokenizers import Tokenizer
before, start = rss(), time.perf_counter()
opened = load_tokenizer(model) if kind == "compiled" else Tokenizer.from_file(str(path / "tokenizer.json"))
loaded = time.perf_counter()
after = rss()
opened.encode("plain text", 8) if kind == "compiled" else opened.encode("plain text")
first = time.perf_counter()
opened.encode("na\\u00efve", 8) if kind == "compiled" else opened.encode("na\\u00efve")
last = time.perf_counter()
times = [(loaded - start) * 1e3, (first - loaded) * 1e3, (last - first) * 1e3]
print(*times, (after - before) / 1024, (rss() - before) / 1024)
"""


def _syllables(rng: random.Random) -> str:
    return "".join(
        rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") + rng.choice(("", "", "n", "s"))
        for _ in range(rng.randint(1, 4))
    )


def synthetic_source(rng: random.Random) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """A specification of 250,002 pieces, and for each language the words to write texts with."""
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
    while len(vocabulary) < _PIECES - 1:
        vocabulary.setdefault(_syllables(rng) + _syllables(rng), -12.0 - rng.random() * 3)
    words["English"] = words["English"][:20_000]
    kept = [list(item) for item in list(vocabulary.items())[: _PIECES - 1]]
    specification["model"]["vocab"] = [*kept, ["<mask>", 0.0]]
    specification["added_tokens"][-1]["id"] = _PIECES - 1
    return specification, words


def _text(rng: random.Random, language: str, words: list[str], length: int) -> str:
    picked = [words[int(len(words) * rng.random() ** 4)] for _ in range(length)]
    if language != "English":
        return "".join(picked)
    return " ".join(word.capitalize() + "." if rng.random() < 0.1 else word for word in picked)


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _library_ids(library: Any, text: str) -> list[int]:
    ids: list[int] = library.encode_batch_fast([text])[0].ids
    return ids


def _row(name: str, *values: str) -> None:
    print(f"{name:46}" + "".join(f"{value:>14}" for value in values))


def _opening(directories: dict[str, Path]) -> None:
    _row("opening", "load ms", "ASCII text ms", "other text ms", "load MB", "MB after")
    for kind, directory in directories.items():
        rounds = []
        for _ in range(7 if kind == "compiled" else 3):
            child = subprocess.run(
                [sys.executable, "-c", _CHILD, kind, str(directory)],
                check=True,
                capture_output=True,
                text=True,
            )
            rounds.append([float(value) for value in child.stdout.split()])
        _row(f"  {kind}", *(f"{statistics.median(column):.2f}" for column in zip(*rounds, strict=True)))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, help="a Unigram tokenizer.json, instead of a synthetic one")
    source: Path | None = parser.parse_args().source
    rng = random.Random(1)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        specification, words = synthetic_source(rng)
        (root / "source").mkdir()
        text = source.read_text(encoding="utf-8") if source else json.dumps(specification, ensure_ascii=False)
        (root / "source" / "tokenizer.json").write_text(text, encoding="utf-8")
        print(compile_tokenizer(root / "source" / "tokenizer.json", root / "compiled"))
        _opening({"compiled": root / "compiled", "library": root / "source"})
        ours = load_tokenizer(TokenizerModel(root / "compiled", "unigram"))
        library = LibraryTokenizer.from_file(str(root / "source" / "tokenizer.json"))
        _row(
            "encoding, 512 tokens", "compiled ms", "library ms", "and cutting", "ratio to best", "characters"
        )

        def compare(row: str, make: Callable[[], str]) -> None:
            library.no_truncation()
            for _ in range(60):
                warm = make()
                expected = library.encode(warm).ids
                if len(expected) > 512:
                    expected = [*expected[:511], expected[-1]]
                if ours.encode(warm, 512) != expected:
                    raise SystemExit(f"{row}: ids differ")
            rounds = []
            for _ in range(_ROUNDS):
                text = make()
                mine = _timed(partial(ours.encode, text, 512))
                uncut = _timed(partial(_library_ids, library, text))
                library.enable_truncation(512)
                # another text: of this one the library has just put the words in its cache
                rounds.append((mine, uncut, _timed(partial(_library_ids, library, make())), len(text)))
                library.no_truncation()
            mine, uncut, cut, characters = (statistics.median(column) for column in zip(*rounds, strict=True))
            _row(
                row,
                *(f"{value:.3f}" for value in (mine, uncut, cut, mine / min(uncut, cut))),
                f"{characters:.0f}",
            )

        for language, choice in words.items():
            compare(f"  {language}, unseen", partial(_text, rng, language, choice, 330))
        accented = [word.replace("a", "\u00e1") for word in words["English"]]
        compare("  accented Latin, unseen", partial(_text, rng, "English", accented, 330))
        compare("  100,000 characters of English", partial(_text, rng, "English", words["English"], 14_000))
        compare("  100,000 characters of Chinese", partial(_text, rng, "Chinese", words["Chinese"], 45_000))
        compare("  100,000 times 'a'", lambda: "a" * 100_000)


if __name__ == "__main__":
    main()
