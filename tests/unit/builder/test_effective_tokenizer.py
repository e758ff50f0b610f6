"""What tokenizer_config.json changes of tokenizer.json is in the bundle, as in sentence-transformers."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from builder.config.source_spec import LocalSource
from builder.errors import ModelMismatchError
from builder.sources.fetch import fetch
from builder.tokenizer.compile import compile_tokenizer
from builder.tokenizer.effective import check_lower_case, write_effective_tokenizer
from lambda_app.bundle import Bundle
from lambda_app.models.embedder import Embedder
from lambda_app.models.tokenizer import load_tokenizer
from tests.support.builds import build_bundle
from tests.support.tiny_families import tiny_embedder
from tests.support.tiny_models import change_json, write_json
from tests.support.tiny_sources import TinySources
from tests.support.tokenizers_factory import TokenizerModel, original

TEXTS = [
    "Der Zug nach ÇANKAYA hält",
    "naïve CAFÉ",
    "夜行列車 の 時刻",
    "plain ascii",
    "UPPER case",
    "Žluťoučký kůň",
    "a<new>b [MASK] <s>",
]
_MAX_TOKENS = 64


@pytest.fixture
def bert(tiny_sources: TinySources, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_sources.embedder, tmp_path / "bert")


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder(tmp_path_factory.mktemp("roberta"), "roberta")


def change_part(source: Path, part: str, **changes: object) -> None:
    """Other settings of the normalizer or the pre-tokenizer in tokenizer.json."""
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    change_json(source, "tokenizer.json", **{part: {**content[part], **changes}})


def published(source: Path) -> Any:
    """transformers' reading, which sentence-transformers uses; control tokens in a text are text."""
    return AutoTokenizer.from_pretrained(str(source), local_files_only=True, split_special_tokens=True)


def ids_of_bundle(source: Path, directory: Path) -> list[list[int]]:
    """The ids of the texts and, last, of a pair, by the function's code on the files of a bundle."""
    write_effective_tokenizer(source, "tiny", 10**6, directory / "effective.json")
    result = compile_tokenizer(directory / "effective.json", directory / "out")
    tokenizer = load_tokenizer(TokenizerModel(directory / "out", result.kind))
    pair = tokenizer.encode_pairs(TEXTS[0], [TEXTS[1]], _MAX_TOKENS)[0]
    return [*(tokenizer.encode(text, _MAX_TOKENS) for text in TEXTS), pair.ids]


def ids_of_transformers(source: Path) -> list[list[int]]:
    tokenizer = published(source)
    tokenizer.padding_side = "right"
    pair = tokenizer(TEXTS[0], TEXTS[1])["input_ids"]
    return [*(tokenizer(text)["input_ids"] for text in TEXTS), pair]


BERT: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    # Changes of tokenizer.json's normalizer, tokenizer_config.json.
    "cased by the config": ({"lowercase": True}, {"do_lower_case": False}),
    "uncased by the class": ({"lowercase": False}, {}),
    "accents kept": ({"lowercase": True}, {"strip_accents": False}),
    "accents stripped": ({"lowercase": False}, {"do_lower_case": False, "strip_accents": True}),
    "Chinese in words": ({"lowercase": True}, {"tokenize_chinese_chars": False}),
}


@pytest.mark.parametrize("case", BERT)
def test_bert_options_are_carried_over(case: str, bert: Path, tmp_path: Path) -> None:
    normalizer, options = BERT[case]
    change_part(bert, "normalizer", **normalizer)
    write_json(bert, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **options})
    expected = ids_of_transformers(bert)
    library = original(bert / "tokenizer.json")
    assert [library.encode(text).ids for text in TEXTS] != expected[:-1]  # which the file alone does not give
    assert ids_of_bundle(bert, tmp_path) == expected


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("option", [True, False, None])
@pytest.mark.parametrize("kind", ["RobertaTokenizer", "PreTrainedTokenizerFast"])
def test_a_prefix_space_is_carried_over(
    kind: str, in_file: bool, option: bool | None, roberta: Path, tmp_path: Path
) -> None:
    source = shutil.copytree(roberta, tmp_path / "source")
    change_part(source, "pre_tokenizer", add_prefix_space=in_file)
    options = {} if option is None else {"add_prefix_space": option}
    change_json(source, "tokenizer_config.json", tokenizer_class=kind, **options)
    assert ids_of_bundle(source, tmp_path) == ids_of_transformers(source)
    content = json.loads((tmp_path / "effective.json").read_text(encoding="utf-8"))
    assert content["pre_tokenizer"]["add_prefix_space"] is bool(option)


OTHERS: dict[str, dict[str, object]] = {
    "other control tokens": {"cls_token": "[SEP]", "sep_token": "[CLS]", "unk_token": "[MASK]"},
    "control tokens of no embedding": {"cls_token": "<begin>", "pad_token": "<nothing>"},
    "the length": {"model_max_length": 8},
    "the padding": {"pad_token": "[SEP]", "pad_to_multiple_of": 8, "padding_side": "left"},
    "no decoding matters": {"clean_up_tokenization_spaces": False, "mask_token": "[UNK]"},
    "a word that is a token": {"added_tokens_decoder": {"9": {"content": "<new>", "special": False}}},
    "a token that is special": {"added_tokens_decoder": {"9": {"content": "<new>", "special": True}}},
    "more tokens that are special": {"additional_special_tokens": ["<new>"]},
}


@pytest.mark.parametrize("case", OTHERS)
@pytest.mark.parametrize("kind", ["BertTokenizer", "PreTrainedTokenizerFast"])
def test_other_options_give_what_transformers_gives(case: str, kind: str, bert: Path, tmp_path: Path) -> None:
    write_json(bert, "tokenizer_config.json", {"tokenizer_class": kind, **OTHERS[case]})
    assert ids_of_bundle(bert, tmp_path) == ids_of_transformers(bert)


def test_tokens_of_a_file_of_their_own_are_carried_over(bert: Path, tmp_path: Path) -> None:
    (bert / "tokenizer_config.json").unlink(missing_ok=True)
    before = ids_of_bundle(bert, tmp_path)
    rows = len(json.loads((bert / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    write_json(bert, "added_tokens.json", {"<new>": rows})
    found = ids_of_bundle(bert, tmp_path)
    assert found == ids_of_transformers(bert)
    assert (rows in found[6], rows in before[6]) == (True, False)
    assert "added_tokens.json" in fetch(LocalSource(bert), tmp_path).files
    with pytest.raises(ModelMismatchError, match="adds '<new>' with the id"):
        write_effective_tokenizer(bert, "tiny", rows, tmp_path / "tokenizer.json")


def sentence_transformer(source: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from sentence_transformers import SentenceTransformer
    return SentenceTransformer(str(source), device="cpu", local_files_only=True)


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_a_bundle_gives_the_vectors_of_sentence_transformers(
    family: str, bert: Path, roberta: Path, tmp_path: Path
) -> None:
    source = bert if family == "bert" else shutil.copytree(roberta, tmp_path / "source")
    if family == "bert":
        write_json(
            source, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": False}
        )
    else:
        change_json(
            source, "tokenizer_config.json", tokenizer_class="RobertaTokenizer", add_prefix_space=True
        )
    out = build_bundle(tmp_path, embedding=source, quantization="none", parity="fail")
    model = Bundle.open(out).embedding
    assert model is not None
    assert model.tokenizer_kind == ("wordpiece" if family == "bert" else "library")
    expected = sentence_transformer(source).encode(TEXTS[:6])
    np.testing.assert_allclose(
        Embedder.open(model, threads=1).embed(TEXTS[:6], "none").vectors, expected, atol=5e-6
    )


def test_the_generic_class_leaves_the_file_as_it_is(bert: Path, tmp_path: Path) -> None:
    options = {"tokenizer_class": "PreTrainedTokenizerFast", "do_lower_case": False}
    write_json(bert, "tokenizer_config.json", options)
    write_effective_tokenizer(bert, "tiny", 10**6, tmp_path / "tokenizer.json")
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert content["normalizer"]["lowercase"] is True


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"tokenizer_class": "OwnTokenizer"}, "tokenizer_mismatch", "cannot open the tokenizer of tiny"),
        (
            {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": ["own.OwnTokenizer", None]}},
            "tokenizer_mismatch",
            "cannot open the tokenizer of tiny",
        ),
        (
            {"added_tokens_decoder": {"100000": {"content": "<new>", "special": False}}},
            "vocabulary_mismatch",
            "adds '<new>' with the id",
        ),
    ],
)
def test_what_transformers_cannot_carry_over_is_refused(
    bert: Path, tmp_path: Path, options: dict[str, object], code: str, message: str
) -> None:
    write_json(bert, "tokenizer_config.json", options)
    rows = len(json.loads((bert / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    with pytest.raises(ModelMismatchError, match=message) as caught:
        write_effective_tokenizer(bert, "tiny", rows, tmp_path / "tokenizer.json")
    assert caught.value.code == code
    assert not (tmp_path / "tokenizer.json").exists()


def test_lower_casing_that_the_tokenizer_does_not_do(bert: Path, tmp_path: Path) -> None:
    """sentence-transformers does it before the tokenizer; here the tokenizer itself has to."""
    target = tmp_path / "tokenizer.json"
    change_json(bert, "sentence_bert_config.json", do_lower_case=True)
    for in_file, option, lowers in ((True, True, True), (False, True, True), (True, False, False)):
        change_part(bert, "normalizer", lowercase=in_file)
        write_json(
            bert, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": option}
        )
        write_effective_tokenizer(bert, "tiny", 10**6, target)
        files = fetch(LocalSource(bert), tmp_path)
        if lowers:
            check_lower_case(files, "tiny", target)
        else:
            with pytest.raises(ModelMismatchError, match="add a Lowercase normalizer"):
                check_lower_case(files, "tiny", target)
    change_json(bert, "sentence_bert_config.json", do_lower_case=False)
    check_lower_case(fetch(LocalSource(bert), tmp_path), "tiny", target)
