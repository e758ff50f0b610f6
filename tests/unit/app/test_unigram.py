"""The compiled vocabulary: the same search as the library's, its bounds, and files that do not fit."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import models

from builder.tokenizer.compile import compile_tokenizer
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.templates import longest_first
from lambda_app.models.tokenizer.tokenizer import Tokenizer
from lambda_app.models.tokenizer.unigram import Unigram
from lambda_app.models.tokenizer.vocabulary import TABLE_FILE, TRIE_FILE, WordCache
from tests.support.cpu_time import cpu_seconds
from tests.support.tokenizers_factory import TokenizerModel, altered, unigram_specification, written

PLAIN: dict[str, Any] = {"normalizer": None, "added_tokens": []}
EVERYTHING = 1 << 30


def compiled(directory: Path, vocabulary: list[tuple[str, float]], unk_id: int = 0) -> Unigram:
    """Pieces compiled from a hand-made vocabulary."""
    model = {"type": "Unigram", "unk_id": unk_id, "vocab": vocabulary, "byte_fallback": False}
    source = written(altered(unigram_specification(), model=model, **PLAIN), directory / "source")
    result = compile_tokenizer(source, directory / "out")
    if result.kind != "unigram":
        raise ValueError(result.reason)
    return Unigram(directory / "out")


def searched(vocabulary: list[tuple[str, float]], word: str, unk_id: int = 0) -> list[int]:
    """What the library's own search gives for a word after a space."""
    model = models.Unigram(vocabulary, unk_id, False)
    return [token.id for token in model.tokenize("▁" + word)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory = tmp_path_factory.mktemp("unigram")
    compile_tokenizer(written(unigram_specification(), directory / "source"), directory / "out")
    return load_tokenizer(TokenizerModel(directory / "out", "unigram"))


@pytest.mark.parametrize(
    ("vocabulary", "word", "expected"),
    [
        ([("<unk>", 0.0), ("▁", -1.0), ("a", -1.0), ("b", -1.0), ("ab", -1.5)], "ab", [1, 4]),
        # a tie goes to the candidate that is found first: the piece that begins earlier
        ([("<unk>", 0.0), ("▁", -1.0), ("a", -1.0), ("aa", -2.0)], "aa", [1, 3]),
        ([("<unk>", 0.0), ("▁", -1.0), ("▁a", -2.0), ("a", -1.0)], "a", [2]),
        # unknown neighbours become one token, and no piece is made of them
        ([("<unk>", 0.0), ("▁", -1.0), ("a", -1.0)], "xyaxz", [1, 0, 2, 0]),
        # an unknown character costs ten less than the worst piece
        ([("<unk>", 0.0), ("▁", -1.0), ("ab", -30.0), ("b", -1.0)], "ab", [1, 2]),
        ([("<unk>", 0.0), ("▁", -1.0), ("abc", -60.0), ("bc", -1.0), ("d", -80.0)], "abc", [1, 2]),
    ],
)
def test_search_by_hand(
    tmp_path: Path, vocabulary: list[tuple[str, float]], word: str, expected: list[int]
) -> None:
    assert compiled(tmp_path, vocabulary).encode([word], EVERYTHING) == expected
    assert searched(vocabulary, word) == expected


def test_a_piece_that_is_there_twice_has_its_last_id(tmp_path: Path) -> None:
    vocabulary = [("<unk>", 0.0), ("▁", -1.0), ("a", -9.0), ("a", -1.0)]
    assert compiled(tmp_path, vocabulary).encode(["a"], EVERYTHING) == [1, 3]
    assert searched(vocabulary, "a") == [1, 3]


def test_equal_to_the_library_with_random_vocabularies_full_of_ties(tmp_path: Path) -> None:
    rng = random.Random(3)
    for number in range(10):
        letters = "abcé汉😀"[: rng.randint(1, 6)]
        names = {
            "".join(rng.choice(letters) for _ in range(rng.randint(1, 4))) for _ in range(rng.randint(1, 25))
        }
        scores = (-0.1, -0.2, -0.3, -1.0, -2.0, -3.0)  # tenths round, so the order of additions shows
        vocabulary = [("<unk>", 0.0), ("▁", -1.0), *((name, rng.choice(scores)) for name in sorted(names))]
        pieces = compiled(tmp_path / str(number), vocabulary)
        for _ in range(100):
            word = "".join(rng.choice(letters + "z") for _ in range(rng.randint(1, 60)))
            assert pieces.encode([word], EVERYTHING) == searched(vocabulary, word), (vocabulary, word)


@pytest.mark.parametrize("unit", ["a", "ab", "ha", "-", "汉", "語彙", "กข", "😀", "z", "azé"])
def test_stopping_early_in_a_long_word_changes_no_id(tmp_path: Path, unit: str) -> None:
    rng = random.Random(unit)
    names = {"".join(rng.choice(unit + "b汉") for _ in range(rng.randint(1, 5))) for _ in range(20)}
    vocabulary = [("<unk>", 0.0), ("▁", -1.0), *((name, -rng.random() * 9) for name in sorted(names))]
    word = "".join(rng.choice(unit + "b汉q" if rng.random() < 0.2 else unit) for _ in range(6000))
    pieces, expected = compiled(tmp_path, vocabulary), searched(vocabulary, word)
    for limit in (1, 7, 64, 511, 512, 2000, EVERYTHING):
        assert pieces.encode([word], limit) == expected[:limit]


def test_words_after_the_limit_are_not_looked_at(tmp_path: Path) -> None:
    pieces = compiled(tmp_path, [("<unk>", 0.0), ("▁", -1.0), ("▁a", -1.0)])

    def words() -> Iterator[str]:
        yield from ["a"] * 5
        raise LookupError("a word too many")

    assert pieces.encode(words(), 5) == [2] * 5


@pytest.mark.parametrize("unit", ["a", "汉", "xy1"])
def test_long_words_take_linear_time(tokenizer: Tokenizer, unit: str) -> None:
    def seconds(size: int) -> float:
        word = (unit * size)[:size]
        # An odd budget: all of both is searched.
        return cpu_seconds(lambda: tokenizer.encode_pair(word, word, 101), runs=3)

    assert seconds(24_000) < 12 * seconds(6_000)  # four times as long; sixteen would be quadratic


def test_cache_is_bounded_by_entries_and_by_characters() -> None:
    cache = WordCache(words=10, characters=100)
    for number in range(1000):
        cache.put(f"{number:04}", (number,))
        assert len(cache) <= 20
    assert cache.get("0999") == (999,)
    assert cache.get("0000") is None
    for number in range(100):
        cache.put("x" * 60 + str(number), (number,))
        assert len(cache) <= 12
    assert cache.get("x" * 60 + "99") == (99,)


def test_words_in_use_outlive_a_generation() -> None:
    cache = WordCache(words=4, characters=1000)
    cache.put("kept", (1,))
    for number in range(40):
        cache.put(str(number), (number,))
        assert cache.get("kept") == (1,)


@pytest.mark.parametrize("name", [TRIE_FILE, TABLE_FILE])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    compiled(tmp_path, [("<unk>", 0.0), ("▁", -1.0)])
    (tmp_path / "out" / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        Unigram(tmp_path / "out")


def test_files_of_two_vocabularies_are_refused(tmp_path: Path) -> None:
    compiled(tmp_path / "one", [("<unk>", 0.0), ("▁", -1.0)])
    compiled(tmp_path / "two", [("<unk>", 0.0), ("▁", -1.0), ("a", -1.0)])
    table = tmp_path / "one" / "out" / TABLE_FILE
    table.write_bytes((tmp_path / "two" / "out" / TABLE_FILE).read_bytes())
    with pytest.raises(ValueError, match=r"pieces\.npy: expected 4 records"):
        Unigram(tmp_path / "one" / "out")
    np.save(table, np.zeros(4))
    with pytest.raises(ValueError, match="float64"):
        Unigram(tmp_path / "one" / "out")
    for content in (b"", b"not an array at all", table.read_bytes()[:-8]):
        table.write_bytes(content)
        with pytest.raises(ValueError, match=r"pieces\.npy: not a numpy array"):
            Unigram(tmp_path / "one" / "out")


@pytest.mark.parametrize("content", [b"", b"not a trie at all"])
def test_a_corrupt_trie_is_refused(tmp_path: Path, content: bytes) -> None:
    compiled(tmp_path, [("<unk>", 0.0), ("▁", -1.0)])
    (tmp_path / "out" / TRIE_FILE).write_bytes(content)
    with pytest.raises(ValueError, match=r"pieces\.marisa"):
        Unigram(tmp_path / "out")


def test_scores_are_the_ones_that_the_library_reads(tmp_path: Path) -> None:
    """Python and the library may parse a decimal one bit apart; a tie must not depend on it."""
    rng = random.Random(5)
    scores = [-rng.random() * 10 ** rng.randint(-3, 2) for _ in range(500)]
    vocabulary = [("<unk>", 0.0), ("▁", -1.0), *((chr(0x4E00 + n), score) for n, score in enumerate(scores))]
    pieces = compiled(tmp_path, vocabulary)
    library = LibraryTokenizer.from_file(str(tmp_path / "source" / "tokenizer.json"))
    expected = dict(json.loads(library.to_str())["model"]["vocab"])
    table = np.load(tmp_path / "out" / TABLE_FILE)
    assert pieces.encode(["一"], 5) == [1, 2]
    for record in table[:-3]:
        assert record["score"] == expected[vocabulary[record["id"]][0]]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_longest_first(first: int, second: int, budget: int) -> None:
    kept = longest_first(first, second, budget)
    assert sum(kept) == min(budget, first + second)
    assert kept[0] <= first
    assert kept[1] <= second
    if first + second > budget:
        assert max(kept) - min(kept) <= 1 or min(kept) in (first, second)
