"""The config file: strict, and overridden by the environment, which flags override."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from builder.cli import cache_directory
from builder.config.load import load_config
from builder.config.schema import QUANTIZATIONS, BuildConfig, Overrides
from builder.config.source_spec import HubSource, LocalSource, PypiSource, parse_source, require_directory
from builder.errors import ConfigError, SourceError
from builder.quantization.thresholds import THRESHOLDS
from tests.support.builds import ROOT

SHA, OTHER = "a" * 40, "b" * 40
BASE = f"""
quantization = "int8"
[embedding]
id = "given/name"
source = "org/embedder@{SHA}"
pooling = "mean"
max_tokens = 512
[embedding.prompts]
query = "query: "
passage = "passage: "
[reranker]
source = "org/reranker@{SHA}"
activation = "identity"
[parity]
[parity.int8.embedding]
min_cosine = 0.9
[parity.none.embedding]
min_cosine = 1
"""


def load(
    tmp_path: Path, text: str = BASE, environ: dict[str, str] | None = None, **flags: Any
) -> BuildConfig:
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    return load_config(path, Overrides(**flags), environ or {})


def embedding_source(config: BuildConfig) -> object:
    assert config.embedding is not None
    return config.embedding.source


def test_the_file_alone(tmp_path: Path) -> None:
    config = load(tmp_path, arch="arm64")
    assert config.embedding is not None
    assert config.reranker is not None
    assert config.embedding.source == HubSource("org/embedder", SHA)
    assert config.embedding.id == "given/name"
    assert config.embedding.prompts == {"query": "query: ", "passage": "passage: "}
    assert (config.reranker.id, config.reranker.activation, config.reranker.max_tokens) == (
        "org/reranker", "identity", 512,
    )  # fmt: skip
    assert (config.quantization, config.arch, config.parity) == ("int8", "arm64", "fail")
    assert config.thresholds.embedding.min_cosine == 0.9


@pytest.mark.parametrize(
    ("environ", "flags", "expected"),
    [
        ({}, {}, HubSource("org/embedder", SHA)),
        ({"EMBEDDING_MODEL": f"e/env@{OTHER}"}, {}, HubSource("e/env", OTHER)),
        ({"EMBEDDING_MODEL": f"e/env@{OTHER}"}, {"embedding": "./flag"}, LocalSource(Path("flag"))),
        ({"EMBEDDING_MODEL": ""}, {}, HubSource("org/embedder", SHA)),
        ({"MODEL_REVISION_EMBEDDING": OTHER}, {}, HubSource("org/embedder", OTHER)),
        ({"EMBEDDING_MODEL": "e/env", "MODEL_REVISION_EMBEDDING": OTHER}, {}, HubSource("e/env", OTHER)),
        ({"MODEL_REVISION_EMBEDDING": OTHER}, {"embedding": "f/flag"}, HubSource("f/flag", OTHER)),
        ({"MODEL_REVISION_EMBEDDING": OTHER}, {"embedding": f"f/flag@{SHA}"}, HubSource("f/flag", SHA)),
        ({}, {"embedding": "pypi:some-model==1.2"}, PypiSource("some-model", "1.2")),
    ],
)
def test_flag_over_environment_over_file(
    tmp_path: Path, environ: dict[str, str], flags: dict[str, str], expected: object
) -> None:
    assert embedding_source(load(tmp_path, BASE, environ, **flags)) == expected


@pytest.mark.parametrize(
    ("value", "flag", "configured", "expected"),
    [
        ("", None, "int8", "int8"),
        ("false", None, "int8", "none"),
        ("0", None, "int8", "none"),
        ("TRUE", None, "int8", "int8"),
        ("true", None, "none", "int8"),
        ("false", "int8", "none", "int8"),
        ("true", "none", "int8", "none"),
    ],
)
def test_quantization(tmp_path: Path, value: str, flag: str | None, configured: str, expected: str) -> None:
    text = BASE.replace('quantization = "int8"', f'quantization = "{configured}"')
    path = tmp_path / "models.toml"
    path.write_text(text, encoding="utf-8")
    config = load_config(path, Overrides(quantization=flag), {"USE_QUANTIZATION": value})
    assert config.quantization == expected
    assert config.thresholds.embedding.min_cosine == (0.9 if expected == "int8" else 1)


def test_parity_mode(tmp_path: Path) -> None:
    text = BASE.replace("[parity]\n", '[parity]\nmode = "warn"\n')
    assert load(tmp_path, text).parity == "warn"
    assert load(tmp_path, text, {"MODEL_PARITY": "off"}).parity == "off"
    assert load(tmp_path, text, {"MODEL_PARITY": "off"}, parity="fail").parity == "fail"
    with pytest.raises(ConfigError, match="sometimes"):
        load(tmp_path, text, {"MODEL_PARITY": "sometimes"})


def test_without_a_parity_section_every_threshold_is_the_schemes_own(tmp_path: Path) -> None:
    text = BASE.partition("[parity]")[0]
    for scheme, expected in THRESHOLDS.items():
        config = load(tmp_path, text, quantization=scheme)
        assert (config.parity, config.emulation, config.thresholds) == ("fail", "auto", expected)


def test_a_config_overrides_single_thresholds(tmp_path: Path) -> None:
    text = BASE + "[parity.int8.reranker]\nmax_score_difference = 0.123\n"
    own = THRESHOLDS["int8"]
    thresholds = load(tmp_path, text).thresholds
    assert thresholds.embedding == replace(own.embedding, min_cosine=0.9)
    assert thresholds.reranker == replace(own.reranker, max_score_difference=0.123)
    assert load(tmp_path, text, quantization="int4").thresholds == THRESHOLDS["int4"]


def test_an_id_belongs_to_its_own_source(tmp_path: Path) -> None:
    def name(**flags: str) -> str:
        config = load(tmp_path, BASE, {}, **flags)
        assert config.embedding is not None
        return config.embedding.id

    assert name() == name(embedding=f"org/embedder@{OTHER}") == "given/name"
    assert name(embedding=f"org/another@{SHA}") == "org/another"


def test_rerankers_that_are_no_model(tmp_path: Path) -> None:
    for value, kind in (("bi-encoder", "bi-encoder"), ("none", None)):
        for config in (load(tmp_path, reranker=value), load(tmp_path, environ={"RERANKER_MODEL": value})):
            assert (config.reranker, config.rerank_kind) == (None, kind)
    config = load(tmp_path, embedding="none")
    assert config.embedding is None
    assert config.rerank_kind == "cross-encoder"
    with pytest.raises(ConfigError, match="needs an embedding model"):
        load(tmp_path, embedding="none", reranker="bi-encoder")
    with pytest.raises(ConfigError, match="nothing to build"):
        load(tmp_path, embedding="none", reranker="none")


def test_a_cross_encoder_in_place_of_a_bi_encoder(tmp_path: Path) -> None:
    text = BASE.replace(f'source = "org/reranker@{SHA}"\nactivation = "identity"', 'kind = "bi-encoder"')
    assert load(tmp_path, text).rerank_kind == "bi-encoder"
    config = load(tmp_path, text, reranker=f"x/cross@{SHA}")
    assert config.reranker is not None
    assert (config.rerank_kind, config.reranker.id, config.reranker.activation) == (
        "cross-encoder", "x/cross", "sigmoid",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('pooling = "mean"', 'pooling = "max"', r"models\.toml \[embedding\]: pooling is 'max'"),
        ('pooling = "mean"', "pooling = 3", r"\[embedding\]: pooling is 3, expected one of mean, cls, last"),
        ('pooling = "mean"', "", r"\[embedding\]: pooling is missing, expected one of mean, cls, last"),
        ("pooling =", "poling =", r"\[embedding\]: pooling is missing \('poling' is nearly that name\)"),
        (
            'source = "org/embedder',
            'sorce = "org/embedder',
            r"\[embedding\]: source is missing \('sorce' is nearly that name\)",
        ),
        ("max_tokens = 512", 'max_tokens = "512"', r"max_tokens is '512', expected a whole number"),
        ("max_tokens = 512", "max_tokens = true", "max_tokens is True"),
        ("max_tokens = 512", "max_tokens = 1", "at least 3"),
        ("max_tokens = 512", "max_tokens = 512\npoling = 1", r"'poling'; the nearest key is 'pooling'"),
        ('query = "query: "', 'qury = "query: "', r"\[embedding\.prompts\]: unknown key 'qury'; the nearest"),
        (
            'quantization = "int8"',
            'quantization = "int3"',
            "quantization is 'int3', expected one of int8, int8-vnni, int8-block, ",
        ),
        ('quantization = "int8"', "speed = 1", "unknown key 'speed'; the keys here are embedding, "),
        ("min_cosine = 0.9", "min_cosine = 1.5", r"\[parity\.int8\.embedding\]: min_cosine is 1\.5"),
        ("min_cosine = 0.9", "min_cosine = nan", r"\[parity\.int8\.embedding\]: min_cosine is nan"),
        ("min_cosine = 0.9", "least = 0.9", r"\[parity\.int8\.embedding\]: unknown key 'least'; the keys"),
        ("[parity]", '[parity]\nmode = "maybe"', "mode is 'maybe'"),
        ("[parity.int8.", "[parity.int9.", r"\[parity\]: unknown key 'int9'"),
        ('activation = "identity"', 'activation = "tanh"', "activation is 'tanh'"),
        (f'"org/embedder@{SHA}"', '"embedder"', "'embedder' is not a source"),
        (f'source = "org/embedder@{SHA}"', "", r"\[embedding\]: source is missing"),
        ("[embedding.prompts]", "prompts = 3\n[other]", "prompts is 3, expected a table"),
        ('quantization = "int8"', "quantization =", "is not TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in BASE
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, BASE.replace(before, after))


def test_more_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read the config"):
        load_config(tmp_path / "none.toml", Overrides(), {})
    with pytest.raises(ConfigError, match="USE_QUANTIZATION is 'maybe'"):
        load(tmp_path, environ={"USE_QUANTIZATION": "maybe"})
    with pytest.raises(ConfigError, match=r"MODEL_REVISION_EMBEDDING is set, but \./here is not a hub"):
        load(tmp_path, environ={"MODEL_REVISION_EMBEDDING": SHA}, embedding="./here")
    with pytest.raises(ConfigError, match="no such architecture: mips"):
        load(tmp_path, arch="mips")


@pytest.mark.parametrize(
    "text", ["pypi:a", "pypi:a>=1", "pypi:a==", "a", "a/b/c", "https://x/y", "a/b@", "a b/c"]
)
def test_sources_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="flag"):
        parse_source(text, "flag")


@pytest.mark.parametrize("revision", [None, "main", "v1.0", SHA.upper(), SHA[:12]])
def test_only_a_commit_is_a_pin(revision: str | None) -> None:
    with pytest.raises(SourceError, match="pin it to a commit"):
        HubSource("a/b", revision).commit()
    assert HubSource("a/b", SHA).commit() == SHA


def test_the_digest_tells_configs_apart_and_knows_no_path(tmp_path: Path) -> None:
    one, again = load(tmp_path), load(tmp_path)
    assert one.digest() == again.digest()
    assert one.digest() != load(tmp_path, quantization="none").digest()
    assert one.digest() != load(tmp_path, BASE.replace('"query: "', '"q: "')).digest()
    here, there = (load(tmp_path, embedding=str(tmp_path / place / "model")) for place in ("a", "b"))
    assert here.digest() == there.digest()


@pytest.mark.parametrize("name", ["models.toml", "models.minilm.toml"])
def test_the_configs_of_the_project_are_pinned(name: str) -> None:
    config = load_config(ROOT / name, Overrides(), {})
    for model in (config.embedding, config.reranker):
        if model is not None and isinstance(model.source, HubSource):
            assert model.source.commit()
    for scheme in QUANTIZATIONS:
        assert load_config(ROOT / name, Overrides(quantization=scheme), {}).quantization == scheme


def test_a_scheme_from_the_environment() -> None:
    def chosen(**environ: str) -> str:
        return load_config(ROOT / "models.toml", Overrides(), environ).quantization

    assert chosen(QUANTIZATION="int8-block") == "int8-block"
    assert chosen(QUANTIZATION="int4", USE_QUANTIZATION="true") == "int4"
    assert chosen(QUANTIZATION="int4", USE_QUANTIZATION="false") == "none"
    overridden = load_config(ROOT / "models.toml", Overrides(quantization="none"), {"QUANTIZATION": "int4"})
    assert overridden.quantization == "none"
    with pytest.raises(ConfigError, match="QUANTIZATION is 'int3', expected one of int8"):
        chosen(QUANTIZATION="int3")


def test_the_cache(tmp_path: Path) -> None:
    environ: dict[str, Any] = {"MODEL_CACHE_DIR": str(tmp_path), "XDG_CACHE_HOME": "/elsewhere"}
    assert cache_directory(environ) == tmp_path
    del environ["MODEL_CACHE_DIR"]
    assert cache_directory(environ).parent == Path("/elsewhere")
    assert cache_directory({}).parent == Path.home() / ".cache"


def test_a_directory_in_a_config_is_relative_to_the_config(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = tmp_path / "configs"
    away.mkdir()
    text = BASE.replace(f"org/embedder@{SHA}", "./model").replace(f"org/reranker@{SHA}", "../ranker")
    config = load(away, text)
    assert embedding_source(config) == LocalSource(away / "model")
    assert config.reranker is not None
    assert config.reranker.source == LocalSource(away / ".." / "ranker")
    # What is typed, in a flag or a variable, is relative to where it is typed.
    given = load(away, text, {"EMBEDDING_MODEL": "./model"}, reranker="../ranker")
    assert embedding_source(given) == LocalSource(Path("model"))
    assert given.reranker is not None
    assert given.reranker.source == LocalSource(Path("../ranker"))
    # A path of a config that is relative itself; an absolute source stays what it is.
    monkeypatch.chdir(tmp_path)
    found = load_config(Path("configs/models.toml"), Overrides(), {})
    assert embedding_source(found) == LocalSource(Path("configs/model"))
    absolute = load(away, text.replace("./model", "/elsewhere"))
    assert embedding_source(absolute) == LocalSource(Path("/elsewhere"))


def test_the_error_of_a_missing_directory_names_where_it_was_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    text = BASE.replace(f"org/embedder@{SHA}", "./model")
    (tmp_path / "configs" / "models.toml").write_text(text, encoding="utf-8")
    source = embedding_source(load_config(Path("configs/models.toml"), Overrides(), {}))
    assert isinstance(source, LocalSource)
    with pytest.raises(SourceError, match="relative to the file's own directory") as caught:
        require_directory(source)
    assert str(caught.value).startswith(f"there is no directory {tmp_path}/configs/model: ")
