"""Reads what to build: the config file, overridden by the environment, overridden by flags.

Everything is checked here, before anything is downloaded; every message names the key and where it came from.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import cast, get_args

from builder.config.precedence import Precedence
from builder.config.replay import replay_choices
from builder.config.schema import (
    BI_ENCODER,
    NO_MODEL,
    QUANTIZATIONS,
    Activation,
    Arch,
    BuildConfig,
    EmbeddingConfig,
    EmulationMode,
    Mixed,
    Overrides,
    ParityMode,
    Pooling,
    RerankerConfig,
)
from builder.config.source_spec import HubSource, Source, describe_source, parse_source
from builder.config.toml_table import Table
from builder.errors import ConfigError
from builder.quantization.thresholds import THRESHOLDS, EmbeddingThresholds, RerankerThresholds, Thresholds
from lambda_app.bundle import RerankKind

_MACHINES: dict[str, Arch] = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


def load_config(path: Path, overrides: Overrides, environ: Mapping[str, str]) -> BuildConfig:
    """Reads a config file and applies environment and flags (flag over environment over file).

    Raises:
        ConfigError: naming the key, and the file, flag or variable that has it.
    """
    table = Table.read(path)
    given = Precedence(overrides, environ)
    quantization = _quantization(table, given)
    embedding = _embedding(table, given, path.parent)
    rerank_kind, reranker = _reranker(table, given, path.parent)
    if rerank_kind == BI_ENCODER and embedding is None:
        raise ConfigError(f'{path}: [reranker] kind = "bi-encoder" needs an embedding model')
    if embedding is None and reranker is None:
        raise ConfigError(f"{path}: neither an [embedding] nor a [reranker] model: nothing to build")
    mode, emulation, thresholds = _parity(table, given, quantization)
    mixed = _mixed(table)
    table.finish()
    arch = _MACHINES.get(overrides.arch or platform.machine().lower())
    if arch is None:
        raise ConfigError(f"no such architecture: {overrides.arch or platform.machine()} (x86_64 or arm64)")
    config = BuildConfig(
        embedding, reranker, rerank_kind, quantization, arch, mode, thresholds, emulation, mixed
    )
    return config if overrides.replay is None else replay_choices(config, overrides.replay)


def _embedding(table: Table, given: Precedence, base: Path) -> EmbeddingConfig | None:
    section = table.table("embedding")
    override = given.override("embedding", "EMBEDDING_MODEL")
    if override is not None and override.value == NO_MODEL:
        if section is not None:
            section.discard()
        return None
    if section is None:
        if override is None:
            return None
        raise ConfigError(
            f"{table.where}: an embedding source was given, but there is no [embedding] with its pooling"
        )
    source, name = _source(section, given, "embedding", base)
    prompts = section.table("prompts")
    return EmbeddingConfig(
        source=source,
        id=name,
        pooling=cast(Pooling, section.choice("pooling", get_args(Pooling))),
        max_tokens=section.integer("max_tokens", minimum=3),
        prompts=None if prompts is None else {kind: prompts.text(kind, "") for kind in ("query", "passage")},
        dimensions=section.integers("dimensions", minimum=1),
        normalize=section.flag("normalize", default=False),
    )


def _reranker(table: Table, given: Precedence, base: Path) -> tuple[RerankKind | None, RerankerConfig | None]:
    section = table.table("reranker")
    override = given.override("reranker", "RERANKER_MODEL")
    kind = None if section is None else section.choice("kind", get_args(RerankKind), "cross-encoder")
    if override is None:
        chosen = kind
    else:
        chosen = override.value if override.value in (BI_ENCODER, NO_MODEL) else "cross-encoder"
    if chosen != "cross-encoder":
        if section is not None and kind == "cross-encoder":
            section.discard()
        return ("bi-encoder" if chosen == BI_ENCODER else None), None
    if section is None:
        raise ConfigError(f"{table.where}: a reranker source was given, but there is no [reranker] section")
    source, name = _source(section, given, "reranker", base)
    return "cross-encoder", RerankerConfig(
        source=source,
        id=name,
        activation=cast(Activation, section.choice("activation", get_args(Activation), "sigmoid")),
        max_tokens=section.integer("max_tokens", minimum=5, default=512),
    )


def _source(section: Table, given: Precedence, task: str, base: Path) -> tuple[Source, str]:
    """Returns the source and the model's id. The config's own ``id`` belongs to the config's own source.

    ``base`` is the config's directory: what it says lies beside it. A flag or a variable is typed elsewhere.
    """
    declared_id = section.text("id", "")
    configured = section.text("source", "")
    override = given.override(task, f"{task.upper()}_MODEL")
    text, where = (override.value, override.origin) if override else (configured, section.where)
    if not text:
        section.refuse("source", None, "a model's name and commit, a directory, or pypi:package==version")
    source = parse_source(text, where) if override else parse_source(text, where, base)
    revision = given.override(None, f"MODEL_REVISION_{task.upper()}")
    # A flag that names a revision overrides the variable, as a flag always does.
    by_flag = override is not None and override.origin.startswith("--")
    if revision and not (by_flag and isinstance(source, HubSource) and source.revision):
        if not isinstance(source, HubSource):
            raise ConfigError(f"{revision.origin} is set, but {text} is not a hub source")
        source = replace(source, revision=revision.value)
    name = describe_source(source)["name"]
    own = bool(configured) and name == describe_source(parse_source(configured, section.where, base))["name"]
    return source, declared_id if declared_id and (own or not override) else name


def _quantization(table: Table, given: Precedence) -> str:
    scheme = given.choice(
        table, "quantization", QUANTIZATIONS, "int8", flag="quantization", variable="QUANTIZATION"
    )
    if given.overrides.quantization:
        return scheme
    wanted = given.switch("USE_QUANTIZATION")
    if wanted is None:
        return scheme
    if not wanted:
        return "none"
    return "int8" if scheme == "none" else scheme


def _parity(
    table: Table, given: Precedence, quantization: str
) -> tuple[ParityMode, EmulationMode, Thresholds]:
    # Without a [parity] section every threshold is the scheme's own and the mode is "fail".
    section = table.table("parity") or Table({}, table.where)
    mode = given.choice(section, "mode", get_args(ParityMode), "fail", flag="parity", variable="MODEL_PARITY")
    emulation = given.choice(
        section, "emulation", get_args(EmulationMode), "auto", flag=None, variable="MODEL_EMULATION"
    )
    schemes = {name: _thresholds(section, name) for name in QUANTIZATIONS}
    return cast(ParityMode, mode), cast(EmulationMode, emulation), schemes[quantization]


def _thresholds(section: Table, scheme: str) -> Thresholds:
    """Returns the scheme's own thresholds, with those in their place that the config names."""
    default = THRESHOLDS[scheme]
    table = section.table(scheme)
    if table is None:
        return default
    return Thresholds(
        replace(default.embedding, **_fractions(table.table("embedding"), default.embedding)),
        replace(default.reranker, **_fractions(table.table("reranker"), default.reranker)),
    )


def _fractions(table: Table | None, default: EmbeddingThresholds | RerankerThresholds) -> dict[str, float]:
    if table is None:
        return {}
    return {one.name: table.fraction(one.name, getattr(default, one.name)) for one in fields(default)}


def _mixed(table: Table) -> Mixed:
    section = table.table("mixed")
    if section is None:
        return Mixed()
    tasks = {task: section.table(task) for task in ("embedding", "reranker")}
    return Mixed(
        section.fraction("min_fidelity", Mixed().min_fidelity),
        section.fraction("min_top10_overlap", Mixed().min_top10_overlap),
        {
            task: {name: assigned.choice(name, ("int8", "int8-block", "fp32")) for name in assigned.names()}
            for task, assigned in tasks.items()
            if assigned is not None
        },
    )
