"""WordPiece without the library: its ids under every normalizer, hostile words, and files that do not fit."""

import itertools
import json
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer
from tokenizers import models
from tokenizers.pre_tokenizers import BertPreTokenizer

from builder.tokenizer.compile import compile_tokenizer
from builder.tokenizer.fuzz_corpus import fuzz_pairs, fuzz_texts
from builder.tokenizer.verify import verify_tokenizer
from builder.tokenizer.wordpiece import word_pattern
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.pretokenize import is_plain_ascii
from lambda_app.models.tokenizer.tokenizer import Tokenizer
from lambda_app.models.tokenizer.wordpiece import WordPiece, WordPieceSettings
from tests.support.cpu_time import cpu_seconds
from tests.support.tokenizers_factory import (
    TokenizerModel,
    altered,
    library_loads,
    with_added_token,
    wordpiece_specification,
    written,
)

EVERYTHING = 1 << 30
FILES = ["pieces.marisa", "pieces.npy", "tokenizer.json", "wordpiece.json"]


def build(specification: str, directory: Path) -> tuple[TokenizerModel, Path]:
    """Compile a specification: the model, and the source."""
    source = written(specification, directory / "source")
    result = compile_tokenizer(source, directory / "out")
    assert (result.kind, result.reason) == ("wordpiece", "")
    return TokenizerModel(directory / "out", result.kind), source


def compiled(directory: Path, pieces: list[str], prefix: str = "##", longest_word: int = 100) -> WordPiece:
    """Pieces compiled from a hand-made vocabulary; their ids are their places in it."""
    model = json.loads(wordpiece_specification())["model"]
    model["vocab"] = {piece: id_ for id_, piece in enumerate(pieces)}
    model |= {"continuing_subword_prefix": prefix, "max_input_chars_per_word": longest_word}
    build(altered(wordpiece_specification(), model=model, added_tokens=[]), directory)
    description = json.loads((directory / "out" / "wordpiece.json").read_text())
    return WordPiece(directory / "out", WordPieceSettings(**description["pieces"]))


def searched(pieces: list[str], word: str, prefix: str = "##", longest_word: int = 100) -> list[int]:
    """What the library's own search gives for a word."""
    vocabulary = {piece: id_ for id_, piece in enumerate(pieces)}
    model = models.WordPiece(
        vocabulary,
        unk_token="[UNK]",
        continuing_subword_prefix=prefix,
        max_input_chars_per_word=longest_word,
    )
    return [token.id for token in model.tokenize(word)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> TokenizerModel:
    return build(wordpiece_specification(), tmp_path_factory.mktemp("wordpiece"))[0]


@pytest.fixture(scope="module")
def tokenizer(model: TokenizerModel) -> Tokenizer:
    return load_tokenizer(model)


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "chinese", "clean"),
    [*itertools.product((True, False), (None, True, False), (True, False), (True, False))],
)
def test_every_normalizer(
    lowercase: bool, strip_accents: bool | None, chinese: bool, clean: bool, tmp_path: Path
) -> None:
    normalizer = {
        "type": "BertNormalizer",
        "clean_text": clean,
        "handle_chinese_chars": chinese,
        "strip_accents": strip_accents,
        "lowercase": lowercase,
    }
    model, source = build(
        altered(wordpiece_specification(lowercase=lowercase), normalizer=normalizer), tmp_path
    )
    assert json.loads((model.directory / "wordpiece.json").read_text())["plain_ascii"]
    texts = ["\x00a\x00b", "a\x0bb\x1cc\x7fd", "Ａ\x85b\u2028Éé漢字ﬁ", *fuzz_texts(136, 31)]
    assert verify_tokenizer(model, source, texts, fuzz_pairs(20, 32), 64).first_difference is None


@pytest.mark.parametrize(
    ("pieces", "word", "expected"),
    [
        (["[UNK]", "ab", "abc", "##c", "##cd", "##d"], "abcd", [2, 5]),  # longest first, not fewest
        (["[UNK]", "ab", "abc", "##cd"], "abcd", [0]),  # and no way back
        (["[UNK]", "a", "##b", "b"], "ba", [0]),
        (["[UNK]", "a", "##"], "aa", [0]),  # a bare prefix is no piece that continues
        (["[UNK]", "a", "#", "##", "###", "##a"], "a#", [1, 4]),
        (["[UNK]", "##a", "a"], "##a", [1]),
        (["[UNK]", "a", "##a", "##[UNK]"], "a[UNK]", [1, 3]),
        (["[UNK]", "a"], "[UNK]", [0]),
    ],
)
def test_search_by_hand(tmp_path: Path, pieces: list[str], word: str, expected: list[int]) -> None:
    assert compiled(tmp_path, pieces).encode([word], EVERYTHING) == expected
    assert searched(pieces, word) == expected


@pytest.mark.parametrize("prefix", ["##", "", "a", "😀"])
def test_equal_to_the_library_with_random_vocabularies(tmp_path: Path, prefix: str) -> None:
    rng = random.Random(prefix)
    for number in range(6):
        letters = "abcé汉😀#"[: rng.randint(1, 7)]
        names = {
            rng.choice(("", prefix)) + "".join(rng.choice(letters) for _ in range(rng.randint(1, 4)))
            for _ in range(rng.randint(1, 25))
        }
        pieces = ["[UNK]", *sorted(names)]
        search = compiled(tmp_path / str(number), pieces, prefix, longest_word=20)
        for _ in range(100):
            word = "".join(rng.choice(letters) for _ in range(rng.randint(1, 24)))
            assert search.encode([word], EVERYTHING) == searched(pieces, word, prefix, 20), (pieces, word)


def test_a_word_is_known_up_to_the_longest_length(tmp_path: Path) -> None:
    search = compiled(tmp_path, ["[UNK]", "a", "##a"], longest_word=70)
    assert search.encode(["a" * 70], EVERYTHING) == [1, *[2] * 69]
    assert search.encode(["a" * 71], EVERYTHING) == [0]
    assert search.encode(["a" * 69 + "b"], EVERYTHING) == [0]
    assert search.encode(["a" * 70, "a"], 3) == [1, 2, 2]


@pytest.mark.parametrize("text", ["a" * 100_000, "é" * 100_000, "a\u0301" * 50_000, "ก" * 100_000])
def test_a_hundred_thousand_characters_are_one_unknown_token(tokenizer: Tokenizer, text: str) -> None:
    assert len(tokenizer.encode(text, 512)) == 3
    assert cpu_seconds(lambda: tokenizer.encode_pair(text, text, 511)) < 0.5


@pytest.mark.parametrize("unit", ["!", "漢", "a!", "ab "])
def test_time_is_linear_in_the_text(tokenizer: Tokenizer, unit: str) -> None:
    def seconds(size: int) -> float:
        text = (unit * size)[:size]
        # An odd budget: all of both is searched.
        return cpu_seconds(lambda: tokenizer.encode_pair(text, text, 101), runs=3)

    assert seconds(100_000) < 12 * seconds(25_000)  # four times as long; sixteen would be quadratic


def test_time_is_linear_in_a_word_where_long_ones_are_known(tmp_path: Path) -> None:
    search = compiled(tmp_path, ["[UNK]", "a", "##a", "##aa"], longest_word=1_000_000)

    def seconds(size: int) -> float:
        word = ["a" * (2 * size + 1)]
        assert len(search.encode(word, EVERYTHING)) == size + 1
        return cpu_seconds(lambda: search.encode(word, EVERYTHING), runs=3)

    assert seconds(40_000) < 12 * seconds(10_000)


def test_words_after_the_limit_are_not_looked_at(tmp_path: Path) -> None:
    search = compiled(tmp_path, ["[UNK]", "a"])

    def words() -> Iterator[str]:
        yield from ["a"] * 5
        raise LookupError("a word too many")

    assert search.encode(words(), 5) == [1] * 5


@settings(max_examples=300, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_the_pattern_cuts_as_the_library(text: str) -> None:
    expected = [word for word, _ in BertPreTokenizer().pre_tokenize_str(text)]
    assert re.findall(word_pattern(), text) == expected


@given(text=st.text(st.characters(max_codepoint=0xFF), max_size=30))
def test_plain_ascii(text: str) -> None:
    plain = string.printable.translate({ord("\x0b"): None, ord("\x0c"): None})
    assert is_plain_ascii(text) == (not set(text) - set(plain))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"normalizer": None}, "normalizer is None"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer is Lowercase"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre-tokenizer is Whitespace"),
        ({"pre_tokenizer": None}, "pre-tokenizer is None"),
        ({"model": {"unk_token": "[NONE]"}}, "no unknown token"),
    ],
)
def test_what_cannot_be_compiled_stays_with_the_library(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    if "model" in change:
        change = {"model": json.loads(wordpiece_specification())["model"] | change["model"]}
    build(wordpiece_specification(), tmp_path)  # whose files have to go
    source = written(altered(wordpiece_specification(), **change), tmp_path / "other")
    result = compile_tokenizer(source, tmp_path / "out")
    assert result.kind == "library"
    assert reason in result.reason
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["tokenizer.json"]
    if "model" not in change:
        model = TokenizerModel(tmp_path / "out", result.kind)
        texts, pairs = fuzz_texts(100, 3), fuzz_pairs(20, 4)
        assert verify_tokenizer(model, source, texts, pairs, 64).first_difference is None


def test_a_model_that_is_not_known_stays_with_the_library(tmp_path: Path) -> None:
    model = {"type": "WordLevel", "vocab": {"[UNK]": 1, "[CLS]": 2, "[SEP]": 3}, "unk_token": "[UNK]"}
    source = written(altered(wordpiece_specification(), model=model, added_tokens=[]), tmp_path)
    result = compile_tokenizer(source, tmp_path / "out")
    assert (result.kind, result.reason) == ("library", "the model is WordLevel")


@pytest.mark.parametrize("name", ["[EXTRA]", "the", "extra"])
def test_a_text_cannot_spell_a_special_token(name: str, tmp_path: Path) -> None:
    """Not even one that is a word, in the vocabulary or not."""
    model, source = build(with_added_token(wordpiece_specification(), name, special=True), tmp_path)
    texts = [name, f"a {name} b", f"{name}s {name.upper()}", *fuzz_texts(100, 3)]
    assert verify_tokenizer(model, source, texts, [(name, f"x {name}")], 64).first_difference is None
    library = LibraryTokenizer.from_file(str(source))
    assert library.token_to_id(name) not in load_tokenizer(model).encode(f"a {name} b", 64)


def test_files(tmp_path: Path) -> None:
    """The same source gives the same bytes, and ``tokenizer.json`` stays whole."""
    first, source = build(wordpiece_specification(), tmp_path / "first")
    second, _ = build(wordpiece_specification(), tmp_path / "second")
    assert sorted(path.name for path in first.directory.iterdir()) == FILES
    for name in FILES:
        assert (first.directory / name).read_bytes() == (second.directory / name).read_bytes()
    library = LibraryTokenizer.from_file(str(source))
    library.no_truncation()
    library.no_padding()
    whole = LibraryTokenizer.from_file(str(first.directory / "tokenizer.json"))
    assert json.loads(whole.to_str()) == json.loads(library.to_str())
    assert (first.directory / "wordpiece.json").stat().st_size < 10_000


def test_plain_ascii_does_not_load_the_library(model: TokenizerModel) -> None:
    plain = "What is a cold start?\n\tIt's [SEP] slow!"
    assert library_loads(model, plain, "na\u00efve") == [False, True]


@pytest.mark.parametrize("name", ["pieces.marisa", "pieces.npy", "wordpiece.json"])
def test_a_missing_file_is_named(name: str, tmp_path: Path) -> None:
    model, _ = build(wordpiece_specification(), tmp_path)
    (model.directory / name).unlink()
    with pytest.raises(FileNotFoundError, match=name.replace(".", r"\.")):
        load_tokenizer(model)


@pytest.mark.parametrize("content", ["", "{}", "null", "[1]", '{"post_processor": null}'])
def test_a_corrupt_description_is_named(content: str, tmp_path: Path) -> None:
    model, _ = build(wordpiece_specification(), tmp_path)
    (model.directory / "wordpiece.json").write_text(content)
    with pytest.raises(ValueError, match=r"wordpiece\.json"):
        load_tokenizer(model)


@pytest.mark.parametrize("change", [{"pieces": {"prefix": "##"}}, {"normalizer": {}}, {"post_processor": {}}])
def test_a_description_with_a_part_missing_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    model, _ = build(wordpiece_specification(), tmp_path)
    path = model.directory / "wordpiece.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ValueError, match=r"wordpiece\.json"):
        load_tokenizer(model)


@pytest.mark.parametrize("content", [b"", b"not a trie at all"])
@pytest.mark.parametrize("name", ["pieces.marisa", "pieces.npy"])
def test_corrupt_pieces_are_named(name: str, content: bytes, tmp_path: Path) -> None:
    model, _ = build(wordpiece_specification(), tmp_path)
    (model.directory / name).write_bytes(content)
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        load_tokenizer(model)


def test_files_of_two_vocabularies_are_refused(tmp_path: Path) -> None:
    compiled(tmp_path / "one", ["[UNK]", "a"])
    compiled(tmp_path / "two", ["[UNK]", "a", "##a"])
    table = tmp_path / "one" / "out" / "pieces.npy"
    table.write_bytes((tmp_path / "two" / "out" / "pieces.npy").read_bytes())
    model = TokenizerModel(tmp_path / "one" / "out", "wordpiece")
    with pytest.raises(ValueError, match=r"pieces\.npy: expected 2 records of int32"):
        load_tokenizer(model)
    np.save(table, np.zeros(2))
    with pytest.raises(ValueError, match="float64"):
        load_tokenizer(model)
