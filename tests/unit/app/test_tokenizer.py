"""Token ids are the library's, for every kind, at every length; control tokens in a text are text."""

import itertools
import json
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as LibraryTokenizer

from builder.tokenizer.compile import CompileResult
from builder.tokenizer.fuzz_corpus import CONTROL_TEXTS, fuzz_pairs, fuzz_texts
from builder.tokenizer.verify import verify_tokenizer
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.pretokenize import metaspace_words
from lambda_app.models.tokenizer.templates import parse_templates
from lambda_app.models.tokenizer.tokenizer import Encoding, Tokenizer
from tests.support.tokenizers_factory import (
    SPECIFICATIONS,
    TokenizerModel,
    altered,
    build,
    library_loads,
    original,
    spells_control,
    unigram_specification,
    with_added_token,
    wordpiece_specification,
    written,
)

BRACKETS = {"library", "wordpiece", "cased"}  # kinds whose separator is spelled [SEP]
UNICODE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SHORT, LONG = "a query", "the answer is in a document of some length, " * 4


@pytest.fixture(scope="module", params=list(SPECIFICATIONS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[CompileResult, TokenizerModel, Path]:
    return build(SPECIFICATIONS[kind](), tmp_path_factory.mktemp(kind))


@pytest.fixture(scope="module")
def tokenizer(built: tuple[CompileResult, TokenizerModel, Path]) -> Tokenizer:
    return load_tokenizer(built[1])


@pytest.fixture(scope="module")
def library(built: tuple[CompileResult, TokenizerModel, Path]) -> Any:
    return original(built[2])


def cut(library: Any, max_tokens: int, *texts: str) -> Any:
    """What the library makes of a text or a pair when it truncates."""
    library.enable_truncation(max_tokens)
    try:
        return library.encode(*texts)
    finally:
        library.no_truncation()


@settings(max_examples=200, deadline=None)
@given(text=UNICODE)
def test_any_text(text: str, tokenizer: Tokenizer, library: Any) -> None:
    assume(not spells_control(text))
    expected = library.encode(text)
    assert tokenizer.encode(text, 100_000) == expected.ids
    assert tokenizer.encode_batch([text], 100_000) == [Encoding(expected.ids, expected.type_ids, False)]


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(max_codepoint=0x7F, exclude_characters="\0"), max_size=200))
def test_any_ascii(text: str, tokenizer: Tokenizer, library: Any) -> None:
    assume(not spells_control(text))
    assert tokenizer.encode(text, 100_000) == library.encode(text).ids


@pytest.mark.parametrize(
    ("a", "b"), [*itertools.product((SHORT, LONG, LONG + "more", "", "x"), repeat=2), ("汉字" * 40, "ก" * 90)]
)
def test_pairs_at_many_lengths(a: str, b: str, tokenizer: Tokenizer, library: Any) -> None:
    whole = library.encode(a, b)
    smallest = library.num_special_tokens_to_add(True)
    for length in sorted(
        {*range(smallest, smallest + 8), smallest + 23, len(whole) - 1, len(whole), len(whole) + 1}
    ):
        if length < smallest:
            continue
        expected = cut(library, length, a, b)
        found = tokenizer.encode_pairs(a, [b], length)
        assert found == [Encoding(expected.ids, expected.type_ids, len(whole) > length)]
        assert tokenizer.encode_pair(a, b, length) == expected.ids


@settings(max_examples=60, deadline=None)
@given(a=st.integers(0, 40), b=st.integers(0, 40), budget=st.integers(0, 60))
def test_longest_first_as_the_library(
    a: int, b: int, budget: int, tokenizer: Tokenizer, library: Any
) -> None:
    """Words of one token each, so that lengths are chosen exactly."""
    first, second = "a " * a, "the " * b
    length = budget + library.num_special_tokens_to_add(True)
    expected = cut(library, length, first, second)
    assert tokenizer.encode_pairs(first, [second], length) == [
        Encoding(expected.ids, expected.type_ids, bool(expected.overflowing))
    ]


def test_single_texts_at_every_length(tokenizer: Tokenizer, library: Any) -> None:
    for text in (LONG, "汉字" * 50, ""):
        whole = library.encode(text)
        for length in range(2, len(whole) + 3):
            found = tokenizer.encode_batch([text], length)[0]
            assert found.ids == cut(library, length, text).ids
            assert found.truncated == (len(whole) > length)


@pytest.mark.parametrize("text", [LONG, "汉字" * 50, SHORT])
def test_texts_that_lose_their_start(text: str, tokenizer: Tokenizer, library: Any) -> None:
    whole = library.encode(text)
    for length in range(3, len(whole) + 3):
        found = tokenizer.encode_batch([text], length, truncation_side="left")[0]
        library.enable_truncation(length, direction="left")
        assert found == Encoding(library.encode(text).ids, library.encode(text).type_ids, len(whole) > length)
        library.no_truncation()
        kept = tokenizer.encode_batch([text], length, truncation_side="left", keep_first=1)[0]
        assert kept.ids[:2] == whole.ids[:2]
        assert kept.ids[-2:] == (whole.ids[-2:] if length > 3 else [whole.ids[1], whole.ids[-1]])
        assert len(kept.ids) == len(found.ids)


def test_pairs_that_lose_their_starts_and_documents_with_a_limit(tokenizer: Tokenizer, library: Any) -> None:
    smallest = library.num_special_tokens_to_add(True)
    for length in (smallest + 7, smallest + 8, 200):
        library.enable_truncation(length, direction="left")
        expected = library.encode(SHORT, LONG)
        library.no_truncation()
        assert tokenizer.encode_pairs(SHORT, [LONG], length, truncation_side="left")[0].ids == expected.ids
    query, document = library.encode(SHORT, add_special_tokens=False), library.encode(LONG)
    limited = tokenizer.encode_pairs(SHORT, [LONG, SHORT], 512, max_document_tokens=3)
    assert len(limited[0].ids) == smallest + len(query) + 3 < smallest + len(query) + len(document)
    assert limited[0].truncated


def test_the_texts_of_tokens_are_the_librarys(tokenizer: Tokenizer, library: Any) -> None:
    for text in (LONG, SHORT, "汉字 naïve x\u0301", "\U0001f600"):
        whole = library.encode(text)
        found = tokenizer.named(tokenizer.ids([text]), special=True)[0]
        assert [(token.id, token.text) for token in found] == [
            (token, library.id_to_token(token)) for token in whole.ids
        ]
        assert [int(token.special) for token in found] == whole.special_tokens_mask
        assert [token.id for token in tokenizer.named(tokenizer.ids([text]), special=False)[0]] == [
            token.id for token in found if not token.special
        ]


def test_batches_agree_with_single_calls(tokenizer: Tokenizer) -> None:
    texts = list(fuzz_texts(60, 21))
    assert [each.ids for each in tokenizer.encode_batch(texts, 40)] == [
        tokenizer.encode(t, 40) for t in texts
    ]
    pairs = tokenizer.encode_pairs(SHORT, texts, 41)
    assert [each.ids for each in pairs] == [tokenizer.encode_pair(SHORT, text, 41) for text in texts]
    assert tokenizer.encode_batch([], 40) == []
    assert tokenizer.encode_pairs(SHORT, [], 40) == []


def test_own_truncation_and_padding_of_the_file_are_ignored(tmp_path: Path) -> None:
    source = written(wordpiece_specification(), tmp_path)
    assert len(LibraryTokenizer.from_file(str(source)).encode("word").ids) == 128  # the trap is there
    raw = load_tokenizer(TokenizerModel(tmp_path, "library"))  # as it is, not compiled
    assert len(raw.encode("word", 512)) < 10
    assert len(raw.encode("word " * 600, 512)) == 512


@pytest.mark.parametrize("text", CONTROL_TEXTS)
def test_control_tokens_in_a_text_are_text(text: str, tokenizer: Tokenizer, library: Any) -> None:
    """The library reads ``</s>`` as the token that ends a segment. Nothing in a text does that here."""
    special = set(tokenizer.encode("", 10))
    for form in (text, f"a {text} b", f"a{text}b", text * 3):
        body = tokenizer.encode(form, 100)[1:-1]
        assert body or not form.strip("▁ ")
        assert not special & set(body)
        pair = tokenizer.encode_pair(form, form, 100)
        empty = tokenizer.encode_pair("", "", 100)
        assert sum(each in special for each in pair) == len(empty)


def test_the_library_does_read_control_tokens(kind: str, library: Any, tokenizer: Tokenizer) -> None:
    """The difference to the library is this one; if it goes away, so can its cause."""
    text = "a [SEP] b" if kind in BRACKETS else "a </s> b"
    begin, end = tokenizer.encode("", 10)
    assert end in library.encode(text).ids[1:-1]
    assert tokenizer.encode(text, 100) == [begin, *tokenizer.encode(text, 100)[1:-1], end]
    if kind not in BRACKETS:  # even when told not to: the vocabulary has a piece of that name
        library.encode_special_tokens = True
        try:
            assert end in library.encode(text).ids[1:-1]
        finally:
            library.encode_special_tokens = False


def test_control_tokens_that_the_library_would_find_in_its_vocabulary(tmp_path: Path) -> None:
    """Pre-tokenized by white space alone, ``[SEP]`` is a word, and WordPiece knows it."""
    specification = altered(
        wordpiece_specification(), pre_tokenizer={"type": "WhitespaceSplit"}, normalizer=None
    )
    result, model, source = build(specification, tmp_path)
    assert "renamed" in result.reason
    tokenizer = load_tokenizer(model)
    _, end = tokenizer.encode("", 10)
    assert end not in tokenizer.encode("a [SEP] b", 20)[1:-1]
    assert verify_tokenizer(model, source, fuzz_texts(200, 1), fuzz_pairs(50, 1), 64).first_difference is None


@pytest.mark.parametrize("kind_", ["wordpiece", "classic"])
def test_added_tokens_that_are_not_special_work_as_in_the_library(kind_: str, tmp_path: Path) -> None:
    specification = with_added_token(SPECIFICATIONS[kind_](), "newword", special=False)
    result, model, source = build(specification, tmp_path)
    assert result.kind == "library"
    text = "a newword and anewwordb"
    found = load_tokenizer(model).encode(text, 100)
    assert found == original(source).encode(text).ids
    assert original(source).token_to_id("newword") in found


def test_too_few_tokens(tokenizer: Tokenizer) -> None:
    special = len(tokenizer.encode("", 100))
    assert tokenizer.encode("word", special) == tokenizer.encode("", 100)
    with pytest.raises(ValueError, match=f"max_tokens is {special - 1}"):
        tokenizer.encode("word", special - 1)
    special = len(tokenizer.encode_pair("", "", 100))
    assert tokenizer.encode_pair("word", "word", special) == tokenizer.encode_pair("", "", 100)
    with pytest.raises(ValueError, match=f"max_tokens is {special - 1}"):
        tokenizer.encode_pair("word", "word", special - 1)


def test_lone_surrogates_are_refused_and_nul_is_survived(tokenizer: Tokenizer) -> None:
    for text in ("\ud800", "word \udfff", "é\ud83d"):
        with pytest.raises(ValueError, match="lone surrogate"):
            tokenizer.encode(text, 10)
        with pytest.raises(ValueError, match="lone surrogate"):
            tokenizer.encode_pair("word", text, 10)
    assert tokenizer.encode("a\0b", 10)


BERT = {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
ROBERTA = {**BERT, "type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
SEQUENCE = {"type": "Sequence", "processors": [BYTES, BERT]}


@pytest.mark.parametrize("post_processor", [BERT, ROBERTA, SEQUENCE])
def test_other_post_processors(post_processor: dict[str, Any], tmp_path: Path) -> None:
    specification = altered(wordpiece_specification(), post_processor=post_processor)
    _, model, source = build(specification, tmp_path)
    parity = verify_tokenizer(model, source, fuzz_texts(130, 5), fuzz_pairs(130, 6), 64)
    assert parity.first_difference is None


def test_no_template_for_pairs(tmp_path: Path) -> None:
    _, model, source = build(altered(unigram_specification(), post_processor=None), tmp_path)
    tokenizer = load_tokenizer(model)
    assert tokenizer.encode("some text", 10) == original(source).encode("some text").ids
    with pytest.raises(ValueError, match="no template for pairs"):
        tokenizer.encode_pair("a", "b", 10)


def test_a_post_processor_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="ByteLevel is not supported"):
        parse_templates(BYTES)
    template = json.loads(unigram_specification())["post_processor"]
    template["pair"].reverse()
    with pytest.raises(ValueError, match="texts BA are not supported"):
        parse_templates(template)


@pytest.mark.parametrize("content", ["", "{}", "null", "[1]", '{"version": "1.0"}'])
@pytest.mark.parametrize("kind_", ["library", "unigram"])
def test_a_corrupt_file_is_named(content: str, kind_: Any, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        load_tokenizer(TokenizerModel(tmp_path, kind_))


@pytest.mark.parametrize("kind_", ["library", "unigram"])
def test_a_missing_file_is_named(kind_: Any, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json"):
        load_tokenizer(TokenizerModel(tmp_path, kind_))


@pytest.mark.parametrize("form", ["classic", "converted", "collapsed"])
def test_ascii_text_does_not_load_the_library(
    form: Literal["classic", "converted", "collapsed"], tmp_path: Path
) -> None:
    _, model, _ = build(unigram_specification(form), tmp_path)
    plain = "What is a cold start?\n\tIt's  <s>slow</s>! "
    assert library_loads(model, plain, "na\u00efve") == [False, True]


@pytest.mark.parametrize(
    ("text", "split_whitespace", "expected"),
    [
        ("a  b", True, ["a", "b"]), ("▁a▁▁b", True, ["a", "", "b"]),
        ("a\x1cb\u3000c", True, ["a\x1cb", "c"]),
        ("", True, []), (" ", True, []), ("", False, []),
        (" a", False, ["a"]), ("a  b ", False, ["a", "", "b", ""]),
    ],
)  # fmt: skip
def test_metaspace_words(text: str, split_whitespace: bool, expected: list[str]) -> None:
    assert metaspace_words(text, split_whitespace=split_whitespace) == expected


@cache
def pre_tokenizer(form: Literal["classic", "converted"]) -> Any:
    return LibraryTokenizer.from_str(unigram_specification(form)).pre_tokenizer


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.sampled_from("ab▁ \t\n\x1c\x1d\x85\xa0\u200b\u3000é"), max_size=20))
@pytest.mark.parametrize("split_whitespace", [True, False])
def test_metaspace_words_as_the_library(split_whitespace: bool, text: str) -> None:
    library = pre_tokenizer("classic" if split_whitespace else "converted")
    expected = [word for word, _ in library.pre_tokenize_str(text)]
    assert ["▁" + word for word in metaspace_words(text, split_whitespace=split_whitespace)] == expected
