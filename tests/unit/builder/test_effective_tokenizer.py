"""What tokenizer_config.json changes of tokenizer.json is in the bundle, as in sentence-transformers."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builder.errors import ModelMismatchError
from builder.tokenizer.effective import write_effective_tokenizer
from lambda_app.bundle import Bundle
from lambda_app.models.embedder import Embedder
from lambda_app.models.reranker import Reranker
from lambda_app.models.tokenizer import load_tokenizer
from tests.support.builds import build_bundle
from tests.support.tiny_families import tiny_cross_encoder, tiny_embedder
from tests.support.tiny_models import change_json, write_json
from tests.support.tiny_sources import TinySources

TEXTS = [
    "Der Zug nach ÇANKAYA hält",
    "naïve CAFÉ",
    "夜行列車 の 時刻",
    "plain ascii",
    "UPPER case",
    "Žluťoučký kůň",
]


def sentence_transformer(source: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        from sentence_transformers import SentenceTransformer
    return SentenceTransformer(str(source), device="cpu", local_files_only=True)


def set_normalizer(source: Path, **changes: object) -> None:
    """Other settings of BertNormalizer in tokenizer.json."""
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    change_json(source, "tokenizer.json", normalizer={**content["normalizer"], **changes})


@pytest.fixture
def bert(tiny_sources: TinySources, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_sources.embedder, tmp_path / "bert")


BERT: dict[str, tuple[dict[str, object], dict[str, object]]] = {
    # tokenizer.json's normalizer, tokenizer_config.json
    "cased by the config": ({"lowercase": True}, {"do_lower_case": False}),
    "uncased by the class": ({"lowercase": False}, {}),
    "accents kept": ({"lowercase": True}, {"strip_accents": False}),
    "accents stripped": ({"lowercase": False}, {"do_lower_case": False, "strip_accents": True}),
    "Chinese in words": ({"lowercase": True}, {"tokenize_chinese_chars": False}),
}


@pytest.mark.parametrize("case", BERT)
def test_bert_options_are_carried_over(case: str, bert: Path, tmp_path: Path) -> None:
    normalizer, options = BERT[case]
    set_normalizer(bert, **normalizer)
    out = build_bundle(tmp_path, embedding=bert, quantization="none", parity="fail")
    write_json(bert, "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", **options})
    expected = sentence_transformer(bert).encode(TEXTS)
    unlike = Bundle.open(out).embedding
    if "class" not in case:  # without a tokenizer_config.json that is the class already
        assert unlike is not None
        before = Embedder.open(unlike, threads=1).embed(TEXTS, "none").vectors
        assert (before * expected).sum(axis=1).min() < 0.999  # tokenizer.json alone gives something else
    out = build_bundle(tmp_path, embedding=bert, quantization="none", parity="fail")
    model = Bundle.open(out).embedding
    assert model is not None
    assert model.tokenizer_kind == "wordpiece"
    np.testing.assert_allclose(
        Embedder.open(model, threads=1).embed(TEXTS, "none").vectors, expected, atol=5e-6
    )


@pytest.mark.parametrize("in_file", [True, False])
@pytest.mark.parametrize("option", [True, False, None])
def test_a_prefix_space_is_carried_over(in_file: bool, option: bool | None, tmp_path: Path) -> None:
    source = tiny_embedder(tmp_path / "roberta", "roberta")
    content = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    before = {**content["pre_tokenizer"], "add_prefix_space": in_file}
    change_json(source, "tokenizer.json", pre_tokenizer=before)
    options = {} if option is None else {"add_prefix_space": option}
    change_json(source, "tokenizer_config.json", tokenizer_class="RobertaTokenizer", **options)
    out = build_bundle(tmp_path, embedding=source, quantization="none", parity="fail")
    model = Bundle.open(out).embedding
    assert model is not None
    reference = sentence_transformer(source)
    found = Embedder.open(model, threads=1).embed(TEXTS, "none").vectors
    np.testing.assert_allclose(found, reference.encode(TEXTS), atol=5e-6)
    ids = [load_tokenizer(model).encode(text, 64) for text in TEXTS]
    assert ids == reference.tokenizer(TEXTS)["input_ids"]
    assert json.loads(reference.tokenizer.backend_tokenizer.to_str())["pre_tokenizer"][
        "add_prefix_space"
    ] is bool(option)


def test_a_cross_encoder_reads_its_options_too(tmp_path: Path) -> None:
    source = tiny_cross_encoder(tmp_path / "ranker", "bert")
    change_json(source, "tokenizer_config.json", tokenizer_class="BertTokenizer", do_lower_case=False)
    out = build_bundle(tmp_path, reranker=source, quantization="none", parity="fail")
    model = Bundle.open(out).reranker
    assert model is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sentence_transformers import CrossEncoder
    reference = CrossEncoder(str(source), device="cpu", local_files_only=True)
    expected = reference.predict([("What is it?", text) for text in TEXTS])
    logits = Reranker.open(model, threads=1).score("What is it?", TEXTS).logits
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), expected, atol=5e-5)


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
