"""What a model's own files ask for and this build does not do: refused, saying what to do instead."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from builder.checks.embedder import check_embedder
from builder.checks.families import FAMILIES
from builder.checks.modules import read_modules
from builder.checks.prompts import resolve_prompts
from builder.checks.reranker import check_reranker
from builder.config.load import load_config
from builder.config.schema import EmbeddingConfig, Overrides, RerankerConfig
from builder.config.source_spec import LocalSource
from builder.errors import BuildError, ConfigError, ModelMismatchError
from builder.sources.fetch import fetch
from builder.sources.files import ModelFiles
from tests.support.builds import ROOT, only_error, run_cli, write_config
from tests.support.tiny_families import tiny_cross_encoder, tiny_embedder, write_dense
from tests.support.tiny_models import HIDDEN, MAX_TOKENS, change_json, write_json

DECLARATION = "config_sentence_transformers.json"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT embedder with one Dense layer and a DistilBERT cross-encoder."""
    root = tmp_path_factory.mktemp("modules")
    tiny_embedder(root / "embedder", "bert", dense=[(24, "Tanh", True)])
    tiny_cross_encoder(root / "ranker", "distilbert", activation="Sigmoid")
    return root


@pytest.fixture
def embedder(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "embedder", tmp_path / "embedder")


@pytest.fixture
def ranker(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "ranker", tmp_path / "ranker")


def config(path: Path, **changes: Any) -> EmbeddingConfig:
    return replace(EmbeddingConfig(LocalSource(path), "tiny", "mean", MAX_TOKENS, None, (), False), **changes)


def files(path: Path) -> ModelFiles:
    return fetch(LocalSource(path), path)


def modules_of(*kinds: str) -> list[dict[str, str]]:
    paths = ["" if index == 0 else f"{index}_{kind}" for index, kind in enumerate(kinds)]
    return [
        {"path": path, "type": kind if "." in kind else f"sentence_transformers.models.{kind}"}
        for kind, path in zip(kinds, paths, strict=True)
    ]


def test_what_is_declared(embedder: Path) -> None:
    found = read_modules(embedder, "tiny")
    assert found is not None
    assert (found.pooling, found.normalizes, found.pools_prompt) == ("mean", True, True)
    assert [(one.in_features, one.out_features, one.activation) for one in found.dense] == [
        (HIDDEN, 24, "tanh")
    ]
    check_embedder(files(embedder), config(embedder, dimensions=(16, 8)))
    assert "2_Dense/model.safetensors" in files(embedder).files
    (embedder / "modules.json").unlink()
    assert read_modules(embedder, "tiny") is None


REFUSED: list[tuple[Callable[[Path], object], str, str]] = [
    (
        lambda path: write_json(path, "modules.json", modules_of("Transformer", "custom_st.Pooling")),
        "remote_code",
        "'custom_st.Pooling' of its own code .* take a model",
    ),
    (
        lambda path: write_json(path, "modules.json", modules_of("Transformer", "Pooling", "LSTM")),
        "unsupported_model",
        "LSTM module.* take a model of",
    ),
    (
        lambda path: write_json(path, "modules.json", modules_of("Transformer", "Normalize")),
        "unsupported_model",
        "in the order Transformer, Normalize: take a model with",
    ),
    (
        lambda path: write_json(
            path, "modules.json", modules_of("Transformer", "Pooling", "Normalize", "Dense")
        ),
        "unsupported_model",
        "then any Dense, then Normalize",
    ),
    (lambda path: write_json(path, "modules.json", []), "unsupported_model", r"\(none\)"),
    (
        lambda path: write_json(path, "1_Pooling/config.json", {"pooling_mode": "max"}),
        "pooling_mismatch",
        "'max' .* take a model that pools by mean, cls or last",
    ),
    (
        lambda path: write_json(path, "1_Pooling/config.json", {"pooling_mode": "lasttoken"}),
        "pooling_mismatch",
        'write pooling = "last"',
    ),
    (
        lambda path: write_json(
            path,
            "1_Pooling/config.json",
            {"pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": True},
        ),
        "pooling_mismatch",
        r"'max\+mean'",
    ),
    (
        lambda path: change_json(path, "2_Dense/config.json", activation_function="torch.nn.Mish"),
        "unsupported_model",
        "'torch.nn.Mish' .* one of Identity, Tanh",
    ),
    (
        lambda path: change_json(path, "2_Dense/config.json", activation_function="evil.module.Tanh"),
        "unsupported_model",
        "'evil.module.Tanh'",
    ),
    (
        lambda path: (path / "2_Dense/model.safetensors").unlink(),
        "pickled_weights",
        "convert them to safetensors",
    ),
    (
        lambda path: write_dense(path / "2_Dense", 16, 24, "Tanh", bias=True),
        "pooling_mismatch",
        f"takes 16 numbers, and {HIDDEN} come to it",
    ),
    (lambda path: change_json(path, "2_Dense/config.json", out_features=25), "source_damaged", r"\(24, 32\)"),
    (lambda path: (path / "2_Dense/config.json").unlink(), "file_not_found", "2_Dense/config.json"),
    (
        lambda path: write_json(
            path, "modules.json", [{"type": "sentence_transformers.models.Transformer", "path": "../x"}]
        ),
        "source_damaged",
        "outside the model",
    ),
    (
        lambda path: change_json(path, "config.json", model_type="deberta-v2"),
        "unsupported_model",
        "take one of bert,",
    ),
    (
        lambda path: change_json(path, "config.json", model_type=None),
        "unsupported_model",
        "has no model_type: write the family into a copy, one of bert,",
    ),
    (
        lambda path: change_json(path, "config.json", architectures=["BertForQuestionAnswering"]),
        "wrong_task",
        "another task",
    ),
    (
        lambda path: change_json(path, "config.json", architectures=["BertLMHeadModel"]),
        "wrong_task",
        "another task",
    ),
    (
        lambda path: write_json(path, DECLARATION, {"model_type": "SparseEncoder"}),
        "wrong_task",
        "SparseEncoder",
    ),
    (
        lambda path: change_json(path, "sentence_bert_config.json", max_seq_length=32),
        "max_tokens_mismatch",
        "write max_tokens = 32",
    ),
]


@pytest.mark.parametrize(("change", "code", "message"), REFUSED)
def test_refusals_name_their_cure(
    embedder: Path, change: Callable[[Path], object], code: str, message: str
) -> None:
    change(embedder)
    with pytest.raises(BuildError, match=message) as caught:
        check_embedder(files(embedder), config(embedder))
    assert caught.value.code == code


def test_a_language_model_needs_module_files(embedder: Path) -> None:
    change_json(embedder, "config.json", architectures=["BertForMaskedLM"])
    check_embedder(files(embedder), config(embedder))
    (embedder / "modules.json").unlink()
    with pytest.raises(ModelMismatchError, match=r"without a modules\.json") as caught:
        check_embedder(files(embedder), config(embedder))
    assert caught.value.code == "wrong_task"


def test_top_weights_may_not_be_pickled_even_if_a_layer_is_not(embedder: Path) -> None:
    (embedder / "model.safetensors").rename(embedder / "pytorch_model.bin")
    with pytest.raises(ModelMismatchError, match="save_pretrained") as caught:
        files(embedder)
    assert caught.value.code == "pickled_weights"


def test_vectors_that_are_not_normalised_need_consent(embedder: Path) -> None:
    write_json(embedder, "modules.json", modules_of("Transformer", "Pooling", "Dense"))
    write_json(embedder, DECLARATION, {"similarity_fn_name": "dot"})
    with pytest.raises(ModelMismatchError, match=r"compared by 'dot'.*write normalize = true"):
        check_embedder(files(embedder), config(embedder))
    check_embedder(files(embedder), config(embedder, normalize=True))


def test_options_for_the_tokenizer_in_the_module_are_named(embedder: Path) -> None:
    change_json(embedder, "sentence_bert_config.json", tokenizer_args={})
    check_embedder(files(embedder), config(embedder))
    change_json(embedder, "sentence_bert_config.json", tokenizer_args={"do_lower_case": False})
    with pytest.raises(ModelMismatchError, match="tokenizer_args: do_lower_case") as caught:
        check_embedder(files(embedder), config(embedder))
    assert caught.value.code == "tokenizer_mismatch"


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        (None, {"query": "", "passage": ""}),
        ({"query": "q: ", "passage": "p: "}, {"query": "q: ", "passage": "p: "}),
        ({"query": "q: ", "document": "", "corpus": "c: "}, {"query": "q: ", "passage": "c: "}),
        ({"document": "d: ", "passage": "d: "}, {"query": "", "passage": "d: "}),
    ],
)
def test_prompts_come_from_the_model_where_the_config_names_none(
    embedder: Path, declared: object, expected: dict[str, str]
) -> None:
    write_json(embedder, DECLARATION, {"prompts": declared})
    assert resolve_prompts(files(embedder), config(embedder)) == expected


@pytest.mark.parametrize(
    ("content", "prompts", "message"),
    [
        ({"prompts": {"document": "d: ", "passage": "p: "}}, None, "several prompts for a passage .*'p: '"),
        ({"prompts": {"sts": "s: "}, "default_prompt_name": "sts"}, None, "'s: ' before every text.*prompts"),
        ({"prompts": {"query": 'the "q": '}}, {"query": "x: "}, r'write query = "the \\"q\\": ", or leave'),
        ({"prompts": {"query": "q: "}}, {}, "has the query prompt 'q: ', the config says ''"),
    ],
)
def test_prompts_that_contradict(
    embedder: Path, content: object, prompts: dict[str, str] | None, message: str
) -> None:
    write_json(embedder, DECLARATION, content)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        check_embedder(files(embedder), config(embedder, prompts=prompts))
    assert caught.value.code == "prompts_mismatch"


def test_one_of_several_prompts_may_be_chosen(embedder: Path) -> None:
    write_json(embedder, DECLARATION, {"prompts": {"document": "d: ", "passage": "p: "}})
    check_embedder(files(embedder), config(embedder, prompts={"passage": "p: "}))


def test_a_mean_without_its_prompt(embedder: Path) -> None:
    change_json(embedder, "1_Pooling/config.json", include_prompt=False)
    check_embedder(files(embedder), config(embedder))
    with pytest.raises(ModelMismatchError, match="leaves its prompts out of the mean"):
        check_embedder(files(embedder), config(embedder, prompts={"query": "q: "}))


@pytest.mark.parametrize(
    ("declared", "dimensions", "message"),
    [
        (None, (24,), "vectors of 24 dimensions"),
        (None, (32, 8), "write smaller numbers"),
        ([16], (16, 8), r"trained to be cut to \[16\] dimensions .*not to 8"),
    ],
)
def test_dimensions_that_contradict(
    embedder: Path, declared: object, dimensions: tuple[int, ...], message: str
) -> None:
    change_json(embedder, "config.json", matryoshka_dimensions=declared)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        check_embedder(files(embedder), config(embedder, dimensions=dimensions))
    assert caught.value.code == "dimensions_mismatch"


@pytest.mark.parametrize(
    ("changes", "code", "message"),
    [
        ({"id2label": {"0": "a", "1": "b", "2": "c"}}, "wrong_task", "3 labels.*bi-encoder"),
        (
            {"sentence_transformers": {"activation_fn": "torch.nn.modules.activation.Tanh"}},
            "activation_mismatch",
            "take another model",
        ),
        ({"model_type": "t5"}, "unsupported_model", "take one of"),
        ({"dim": None}, "unsupported_model", "of a distilbert model"),
        ({"vocab_size": 7}, "vocabulary_mismatch", "same revision"),
    ],
)
def test_cross_encoders_that_are_refused(
    ranker: Path, changes: dict[str, object], code: str, message: str
) -> None:
    settings = RerankerConfig(LocalSource(ranker), "tiny", "sigmoid", MAX_TOKENS)
    assert check_reranker(files(ranker), settings).heads == 4
    change_json(ranker, "config.json", **changes)
    with pytest.raises(ModelMismatchError, match=message) as caught:
        check_reranker(files(ranker), settings)
    assert caught.value.code == code


def test_the_config_of_dimensions_and_consent(tmp_path: Path) -> None:
    def load(**options: Any) -> EmbeddingConfig:
        path = write_config(tmp_path, embedding="./model", **options)
        found = load_config(path, Overrides(), {}).embedding
        assert found is not None
        return found

    found = load(dimensions=[8, 16], normalize=True, prompts={"query": "q: "})
    assert (found.dimensions, found.normalize) == ((16, 8), True)
    assert found.prompts == {"query": "q: ", "passage": ""}
    assert (load().dimensions, load().normalize, load().prompts) == ((), False, None)
    for wrong in ([8, 8], [0], ["8"], [True], [1.5]):
        with pytest.raises(ConfigError, match=r"dimensions is .*different whole numbers"):
            load(dimensions=wrong)
    path = tmp_path / "models.toml"
    path.write_text(path.read_text().replace("normalize = false", "normalize = 1"))
    with pytest.raises(ConfigError, match="expected"):
        load_config(path, Overrides(), {})


def test_the_page_shows_configs_that_load(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 10
    path = tmp_path / "models.toml"
    for block in blocks:
        path.write_text(block.replace("COMMIT", "a" * 40), encoding="utf-8")
        load_config(path, Overrides(), {})


def test_the_page_has_every_family_and_every_refusal() -> None:
    page = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
    codes = re.findall(r"``(\w+)``", ModelMismatchError.__doc__ or "")
    assert len(codes) == 11
    assert [code for code in codes if f"| `{code}` |" not in page] == []
    assert [family for family in FAMILIES if f"(`{family}`)" not in page] == []


def test_a_refusal_as_a_user_sees_it(embedder: Path, tmp_path: Path) -> None:
    write_json(embedder, "1_Pooling/config.json", {"pooling_mode": "cls"})
    done = run_cli("--config", write_config(tmp_path, embedding=str(embedder)), "--out", tmp_path / "out")
    assert done.returncode == 1
    assert 'write pooling = "cls"' in only_error(done, "pooling_mismatch")
    assert not (tmp_path / "out").exists()


def test_what_a_user_adds_is_listed(embedder: Path, tmp_path: Path) -> None:
    path = write_config(tmp_path, embedding=str(embedder), dimensions=[8, 16])
    done = run_cli("--config", path, "--list")
    assert "prompts as the model declares" in done.stdout
    assert "may be cut to 16, 8 dimensions" in done.stdout


def test_dense_layers_in_half_precision_are_read(embedder: Path) -> None:
    from safetensors.torch import load_file, save_file

    from builder.graph.reference import load_dense

    path = embedder / "2_Dense" / "model.safetensors"
    whole = load_dense(embedder)[0].weight
    save_file({name: value.to(torch.bfloat16) for name, value in load_file(path).items()}, path)
    (half,) = load_dense(embedder)
    assert half.weight.dtype == "float32"
    assert abs(half.weight - whole).max() < 0.01
    assert json.loads((embedder / "2_Dense" / "config.json").read_text())["bias"] is (half.bias is not None)
