"""Compiled tokenizers: what is written, what stays with the library, and how a difference is found."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as LibraryTokenizer

from builder.tokenizer.compile import CompileResult
from builder.tokenizer.fuzz_corpus import fuzz_pairs, fuzz_texts
from builder.tokenizer.verify import verify_tokenizer
from lambda_app.models.tokenizer import load_tokenizer
from tests.support.tokenizers_factory import (
    SPECIFICATIONS,
    TokenizerModel,
    altered,
    build,
    original,
    unigram_specification,
    written,
)

KINDS = {"library": "library", "wordpiece": "wordpiece", "cased": "wordpiece"}  # unigram the others


@pytest.fixture(scope="module", params=list(SPECIFICATIONS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def built(kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[CompileResult, TokenizerModel, Path]:
    return build(SPECIFICATIONS[kind](), tmp_path_factory.mktemp(kind))


def test_kinds(kind: str, built: tuple[CompileResult, TokenizerModel, Path]) -> None:
    result, model, _ = built
    assert result.kind == KINDS.get(kind, "unigram")
    assert result.bytes == sum(path.stat().st_size for path in model.directory.iterdir())
    assert bool(result.reason) == (result.kind == "library")


def test_fuzz_corpus(built: tuple[CompileResult, TokenizerModel, Path]) -> None:
    parity = verify_tokenizer(built[1], built[2], fuzz_texts(700, 11), fuzz_pairs(150, 12), 512)
    assert parity.first_difference is None
    assert (parity.texts, parity.pairs) == (700, 150)


@pytest.mark.long
def test_fuzz_corpus_at_length(built: tuple[CompileResult, TokenizerModel, Path]) -> None:
    parity = verify_tokenizer(built[1], built[2], fuzz_texts(50_000, 13), fuzz_pairs(10_000, 14), 512)
    assert parity.first_difference is None


def test_output_is_the_same_for_the_same_source(tmp_path: Path) -> None:
    _, first, _ = build(unigram_specification(), tmp_path / "first")
    _, second, _ = build(unigram_specification(), tmp_path / "second")
    names = sorted(path.name for path in first.directory.iterdir())
    assert names == ["pieces.marisa", "pieces.npy", "tokenizer.json"]
    for name in names:
        assert (first.directory / name).read_bytes() == (second.directory / name).read_bytes()


def test_the_vocabulary_is_not_in_the_json_and_the_rest_is(
    built: tuple[CompileResult, TokenizerModel, Path],
) -> None:
    result, model, source = built
    before = json.loads(LibraryTokenizer.from_file(str(source)).to_str())
    after = json.loads((model.directory / "tokenizer.json").read_text(encoding="utf-8"))
    assert after["truncation"] is after["padding"] is None
    for key in ("normalizer", "pre_tokenizer", "post_processor", "added_tokens"):
        assert after[key] == before[key]
    assert len(after["model"]["vocab"]) == (1 if result.kind == "unigram" else len(before["model"]["vocab"]))
    LibraryTokenizer.from_file(str(model.directory / "tokenizer.json"))  # still valid for it


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"byte_fallback": True}, "falls back to bytes"),
        ({"unk_id": None}, "no unknown token"),
        ({"vocab": [["<unk>", 0.0], ["▁", 2.0]], "unk_id": 0}, "above zero"),
    ],
)
def test_what_cannot_be_compiled_stays_with_the_library(
    change: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    model = {**json.loads(unigram_specification())["model"], **change}
    result, _, _ = build(altered(unigram_specification(), model=model), tmp_path)
    assert result.kind == "library"
    assert reason in result.reason
    assert not (tmp_path / "out" / "pieces.npy").exists()


def test_an_unknown_pre_tokenizer_stays_with_the_library(tmp_path: Path) -> None:
    specification = altered(unigram_specification(), pre_tokenizer={"type": "Whitespace"})
    result, model, source = build(specification, tmp_path)
    assert result.kind == "library"
    assert verify_tokenizer(model, source, fuzz_texts(200, 8), fuzz_pairs(60, 9), 64).first_difference is None


def test_a_normalizer_that_changes_ascii_is_asked_for_ascii(tmp_path: Path) -> None:
    specification = altered(unigram_specification(), normalizer={"type": "Lowercase"})
    result, model, source = build(specification, tmp_path)
    assert result.kind == "unigram"
    assert load_tokenizer(model).encode("The ANSWER", 50) == original(source).encode("The ANSWER").ids
    assert verify_tokenizer(model, source, fuzz_texts(200, 8), fuzz_pairs(60, 9), 64).first_difference is None


def test_a_difference_is_found_and_described(tmp_path: Path) -> None:
    _, model, _ = build(unigram_specification(), tmp_path)
    other = json.loads(unigram_specification())
    other["model"]["vocab"].insert(-1, ["▁zq", -3.0])
    parity = verify_tokenizer(model, written(json.dumps(other), tmp_path / "other"), ["a", "zq zq"], [], 512)
    assert parity.first_difference is not None
    assert "zq" in parity.first_difference
    pairs = [("a", "b")] * 200 + [("a", "zq")]
    only_pairs = verify_tokenizer(model, written(json.dumps(other), tmp_path / "other"), [], pairs, 512)
    assert only_pairs.first_difference is not None


def test_fuzz_texts_are_reproducible_and_encodable() -> None:
    texts = list(fuzz_texts(500, 4))
    assert texts == list(fuzz_texts(500, 4))
    assert texts[:100] == list(fuzz_texts(100, 4))
    assert texts != list(fuzz_texts(500, 5))
    assert all(text.encode() is not None and "\0" not in text for text in texts)
    assert list(fuzz_pairs(20, 4)) == list(fuzz_pairs(20, 4))
