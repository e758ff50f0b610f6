"""A model's own files against the config: every contradiction is an error that says what contradicts what."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from builder.checks.embedder import check_embedder
from builder.checks.reranker import check_reranker
from builder.config.schema import EmbeddingConfig, RerankerConfig
from builder.config.source_spec import LocalSource
from builder.errors import BuildError, ModelMismatchError
from builder.sources.fetch import fetch
from tests.support.tiny_models import MAX_TOKENS, change_json, write_json, write_modules
from tests.support.tiny_sources import TinySources
from tests.support.tokenizers_factory import with_added_token

E5_PROMPTS = {"query": "query: ", "passage": "passage: "}


def embedding(path: Path) -> EmbeddingConfig:
    return EmbeddingConfig(LocalSource(path), "tiny", "mean", MAX_TOKENS, {}, (), False)


def reranker(path: Path) -> RerankerConfig:
    return RerankerConfig(LocalSource(path), "tiny", "sigmoid", MAX_TOKENS)


@pytest.fixture
def embedder(tiny_sources: TinySources, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_sources.embedder, tmp_path / "embedder")


@pytest.fixture
def cross_encoder(tiny_sources: TinySources, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_sources.xlmr_reranker, tmp_path / "reranker")


def test_what_agrees(tiny_sources: TinySources, tmp_path: Path) -> None:
    found = check_embedder(fetch(LocalSource(tiny_sources.embedder), tmp_path), embedding(tmp_path))
    assert (found.name, found.hidden_size, found.heads, found.pad_token_id) == ("bert", 32, 4, 0)
    for path, pad in ((tiny_sources.bert_reranker, 0), (tiny_sources.xlmr_reranker, 1)):
        assert check_reranker(fetch(LocalSource(path), tmp_path), reranker(path)).pad_token_id == pad


def two_limits(directory: Path) -> None:
    change_json(directory, "config.json", max_position_embeddings=48)
    write_json(directory, "sentence_bert_config.json", {"max_seq_length": 32})


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda path: write_modules(path, pooling="cls_token"), "pooling_mismatch", "pools by 'cls'"),
        (lambda path: write_modules(path, pooling="none"), "pooling_mismatch", "pools by 'nothing'"),
        (
            lambda path: write_json(path, "1_Pooling/config.json", {"pooling_mode": "lasttoken"}),
            "pooling_mismatch",
            "pools by 'last'",
        ),
        (lambda path: write_modules(path, normalize=False), "pooling_mismatch", "write normalize = true"),
        (
            lambda path: write_json(path, "config_sentence_transformers.json", {"prompts": E5_PROMPTS}),
            "prompts_mismatch",
            "query prompt 'query: ', the config says ''",
        ),
        (
            lambda path: write_json(path, "sentence_bert_config.json", {"max_seq_length": 32}),
            "max_tokens_mismatch",
            r"takes 32 tokens \(sentence_bert_config.json\)",
        ),
        (
            lambda path: write_json(path, "tokenizer_config.json", {"model_max_length": 16}),
            "max_tokens_mismatch",
            "takes 16 tokens",
        ),
        (
            lambda path: change_json(path, "config.json", max_position_embeddings=48),
            "max_tokens_mismatch",
            "takes 48 tokens",
        ),
        (
            two_limits,
            "max_tokens_mismatch",
            "takes 32 tokens .*: write max_tokens = 32",
        ),
        (
            lambda path: change_json(path, "config.json", architectures=["BertForSequenceClassification"]),
            "wrong_task",
            "did you mean it as the reranker",
        ),
        (
            lambda path: change_json(path, "config.json", auto_map={"AutoModel": "modeling.Custom"}),
            "remote_code",
            "auto_map",
        ),
        (
            lambda path: change_json(path, "config.json", vocab_size=77),
            "vocabulary_mismatch",
            "vocab_size 77",
        ),
        *(
            (
                lambda path, change=change: change_json(path, "config.json", **change),
                "unsupported_model",
                "take both from the same revision",
            )
            for change in (
                {"num_hidden_layers": 100_000},
                {"num_hidden_layers": 5000, "hidden_size": 1},
                {"num_hidden_layers": 0},
                {"hidden_size": 10**9},
                {"num_attention_heads": -1},
            )
        ),
        (
            lambda path: change_json(path, "config.json", _attn_implementation="org/kernels"),
            "remote_code",
            "_attn_implementation",
        ),
        (
            lambda path: change_json(path, "config.json", model_type=None),
            "unsupported_model",
            "has no model_type: write the family",
        ),
        (
            lambda path: change_json(path, "config.json", transformers_weights="../x.safetensors"),
            "unsupported_model",
            "names other weights",
        ),
        (lambda path: change_json(path, "config.json", hidden_size=None), "unsupported_model", "config.json"),
    ],
)
def test_embedders_that_contradict(
    embedder: Path, tmp_path: Path, change: Callable[[Path], None], code: str, message: str
) -> None:
    change(embedder)
    files = fetch(LocalSource(embedder), tmp_path)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        check_embedder(files, embedding(embedder))
    assert caught.value.code == code


def test_prompts_that_agree_or_are_not_declared(embedder: Path, tmp_path: Path) -> None:
    config = replace(embedding(embedder), prompts=E5_PROMPTS)
    check_embedder(fetch(LocalSource(embedder), tmp_path), config)
    for declared in (E5_PROMPTS, {"query": "", "document": ""}, {"other": "x: "}, None):
        write_json(embedder, "config_sentence_transformers.json", {"prompts": declared})
        check_embedder(fetch(LocalSource(embedder), tmp_path), config)
    write_json(embedder, "config_sentence_transformers.json", {"prompts": {"document": "text: "}})
    with pytest.raises(ModelMismatchError, match="document prompt 'text: '"):
        check_embedder(fetch(LocalSource(embedder), tmp_path), config)


@pytest.mark.parametrize("key", ["truncation_side", "padding_side"])
def test_a_tokenizer_that_cuts_or_pads_texts_on_the_left(
    key: str, cross_encoder: Path, tmp_path: Path
) -> None:
    section = {"truncation_side": "truncation", "padding_side": "padding"}[key]
    tokenizer = Tokenizer.from_file(str(cross_encoder / "tokenizer.json"))
    enable = {"truncation": tokenizer.enable_truncation, "padding": tokenizer.enable_padding}[section]
    enable(direction="left", **({"max_length": 32} if section == "truncation" else {}))
    for options, where in (
        ({key: "left"}, f"{key} of tokenizer_config"),
        ({}, "direction in tokenizer.json"),
    ):
        write_json(cross_encoder, "tokenizer_config.json", options)
        if not options:
            tokenizer.save(str(cross_encoder / "tokenizer.json"))
        with pytest.raises(ModelMismatchError, match=where) as caught:
            check_reranker(fetch(LocalSource(cross_encoder), tmp_path), reranker(cross_encoder))
        assert caught.value.code == "tokenizer_mismatch"
    # transformers prefers what tokenizer_config.json says.
    write_json(cross_encoder, "tokenizer_config.json", {key: "right"})
    check_reranker(fetch(LocalSource(cross_encoder), tmp_path), reranker(cross_encoder))


def test_a_cross_encoder_that_is_not_given_its_token_types(tiny_sources: TinySources, tmp_path: Path) -> None:
    source = shutil.copytree(tiny_sources.bert_reranker, tmp_path / "reranker")
    write_json(source, "tokenizer_config.json", {"model_input_names": ["input_ids", "attention_mask"]})
    with pytest.raises(ModelMismatchError, match="model_input_names of tokenizer_config") as caught:
        check_reranker(fetch(LocalSource(source), tmp_path), reranker(source))
    assert caught.value.code == "tokenizer_mismatch"
    tokenizer = source / "tokenizer.json"
    text = tokenizer.read_text(encoding="utf-8")
    tokenizer.write_text(text.replace('"type_id": 1', '"type_id": 0').replace('"type_id":1', '"type_id":0'))
    check_reranker(fetch(LocalSource(source), tmp_path), reranker(source))


def test_a_tokenizer_of_a_newer_format_is_refused_with_its_cure(embedder: Path, tmp_path: Path) -> None:
    change_json(embedder, "tokenizer.json", model={"type": "Later"})
    with pytest.raises(BuildError, match="of a newer format; save it again with AutoTokenizer") as caught:
        check_embedder(fetch(LocalSource(embedder), tmp_path), embedding(embedder))
    assert caught.value.code == "source_damaged"


def test_a_tokenizer_with_more_tokens_than_embeddings(embedder: Path, tmp_path: Path) -> None:
    tokenizer = embedder / "tokenizer.json"
    specification = with_added_token(tokenizer.read_text(encoding="utf-8"), "<added later>", special=True)
    tokenizer.write_text(specification, encoding="utf-8")
    with pytest.raises(ModelMismatchError, match="do not belong together") as caught:
        check_embedder(fetch(LocalSource(embedder), tmp_path), embedding(embedder))
    assert caught.value.code == "vocabulary_mismatch"


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"id2label": {"0": "NO", "1": "YES"}}, "wrong_task", "2 labels"),
        ({"id2label": None}, "wrong_task", "2 labels"),
        ({"architectures": ["XLMRobertaModel"]}, "wrong_task", "XLMRobertaModel"),
        ({"architectures": None}, "wrong_task", "not given"),
        ({"auto_map": {"AutoModel": "m.M"}}, "remote_code", "auto_map"),
        (
            {"sbert_ce_default_activation_function": "torch.nn.modules.activation.Tanh"},
            "activation_mismatch",
            "'tanh'",
        ),
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}},
            "activation_mismatch",
            "'tanh'",
        ),
        # Position ids of XLM-R begin behind the padding id: 64 positions are 62 tokens.
        ({"max_position_embeddings": 64}, "max_tokens_mismatch", "takes 62 tokens"),
    ],
)
def test_cross_encoders_that_contradict(
    cross_encoder: Path, tmp_path: Path, change: dict[str, object], code: str, message: str
) -> None:
    change_json(cross_encoder, "config.json", **change)
    files = fetch(LocalSource(cross_encoder), tmp_path)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        check_reranker(files, reranker(cross_encoder))
    assert caught.value.code == code


@pytest.mark.parametrize("activation", ["identity", "sigmoid"])
@pytest.mark.parametrize(
    "change",
    [
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity"}},
    ],
)
def test_a_sigmoid_may_be_chosen_where_a_model_declares_none(
    cross_encoder: Path, tmp_path: Path, change: dict[str, object], activation: Any
) -> None:
    change_json(cross_encoder, "config.json", **change)
    files = fetch(LocalSource(cross_encoder), tmp_path)
    check_reranker(files, replace(reranker(cross_encoder), activation=activation))


@pytest.mark.parametrize("name", ["config.json", "modules.json", "tokenizer.json", "1_Pooling/config.json"])
@pytest.mark.parametrize("content", ["{", "3", "[1]", "", "null"])
def test_damaged_files_are_errors_of_ours(embedder: Path, tmp_path: Path, name: str, content: str) -> None:
    (embedder / name).write_text(content)
    if (name, content) == ("modules.json", "null"):
        return  # as good as no modules
    with pytest.raises(BuildError):
        check_embedder(fetch(LocalSource(embedder), tmp_path), embedding(embedder))
