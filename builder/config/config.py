"""What is to be built: the config file, overridden by the environment, overridden by flags.

Everything is checked here, before anything is downloaded; every message names the key and where it came from.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal, cast, get_args

from builder.config.source_spec import HubSource, Source, describe_source, parse_source
from builder.config.toml_table import Table
from builder.errors import ConfigError
from lambda_app.bundle import RerankKind

Arch = Literal["x86_64", "arm64"]
Pooling = Literal["mean", "cls", "last"]
Activation = Literal["sigmoid", "identity"]
ParityMode = Literal["fail", "warn", "off"]
# Whether the gate also runs on an emulated CPU: where QEMU is installed, always, or not.
EmulationMode = Literal["auto", "require", "off"]

QUANTIZATIONS = ("int8", "int8-vnni", "int8-block", "int4", "mixed", "fp16-weights", "none")
DEFAULT_CONFIG = "models.toml"
# `--reranker bi-encoder` ranks with the embedding model; `none` leaves a model out.
BI_ENCODER = "bi-encoder"
NO_MODEL = "none"

_MACHINES: dict[str, Arch] = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """``prompts`` go before a text by role (query, passage), None for those that the model declares;
    ``max_tokens`` includes special tokens; ``dimensions`` are those that vectors may be cut to, largest
    first; ``normalize`` agrees to vectors of length 1 from a model that does not make them itself."""

    source: Source
    id: str
    pooling: Pooling
    max_tokens: int
    prompts: Mapping[str, str] | None
    dimensions: tuple[int, ...]
    normalize: bool


@dataclass(frozen=True, slots=True)
class RerankerConfig:
    """A cross-encoder. ``activation`` turns its logit into a score."""

    source: Source
    id: str
    activation: Activation
    max_tokens: int


@dataclass(frozen=True, slots=True)
class EmbeddingThresholds:
    """Cosine between bundle and PyTorch vectors of one text; overlap of the ten nearest texts; correlation of
    the ranks of all similarities; nDCG lost on the user's own data; cosine between the bundle's vectors here
    and on an emulated CPU. All 0 to 1."""

    min_mean_cosine: float
    min_cosine: float
    min_top10_overlap: float
    min_rank_correlation: float = 0.0
    max_ndcg10_loss: float = 0.05
    min_emulated_cosine: float = 0.999


@dataclass(frozen=True, slots=True)
class RerankerThresholds:
    """Differences of scores (the sigmoid of logits); share of document pairs ranked the same way; Kendall's
    tau; overlap of the best three; nDCG lost on the user's own data; difference of scores between here and an
    emulated CPU. All 0 to 1."""

    max_mean_score_difference: float
    max_score_difference: float
    min_rank_agreement: float
    min_kendall_tau: float = 0.0
    min_top3_overlap: float = 0.0
    max_ndcg10_loss: float = 0.05
    max_emulated_score_difference: float = 0.01


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Of one quantization scheme."""

    embedding: EmbeddingThresholds
    reranker: RerankerThresholds


@dataclass(frozen=True, slots=True)
class Mixed:
    """Of the scheme ``mixed``: the fidelity to keep on the calibration texts, and the scheme of each product
    by role, where it was found before."""

    # The parity gate's texts are harder than these: a mean cosine of 0.999 there takes a little more here.
    min_fidelity: float = 0.9993
    assignments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """One build. ``rerank_kind`` is None where nothing ranks."""

    embedding: EmbeddingConfig | None
    reranker: RerankerConfig | None
    rerank_kind: RerankKind | None
    quantization: str
    arch: Arch
    parity: ParityMode
    thresholds: Thresholds
    emulation: EmulationMode = "auto"
    mixed: Mixed = Mixed()

    def digest(self) -> str:
        """sha256 of what determines the bundle. Directories count by name: their files are hashed."""
        content = asdict(replace(self, embedding=None, reranker=None))
        for role, model in (("embedding", self.embedding), ("reranker", self.reranker)):
            if model is not None:
                content[role] = {**asdict(model), "source": describe_source(model.source)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Overrides:
    """The command line's flags; None where a flag was not given."""

    embedding: str | None = None
    reranker: str | None = None
    quantization: str | None = None
    parity: str | None = None
    arch: str | None = None


def load_config(path: Path, overrides: Overrides, environ: Mapping[str, str]) -> BuildConfig:
    """Reads a config file and applies environment and flags (flag over environment over file).

    Raises:
        ConfigError: naming the key, and the file, flag or variable that has it.
    """
    table = Table.read(path)
    quantization = _quantization(table, overrides, environ)
    embedding = _embedding(table, overrides, environ)
    rerank_kind, reranker = _reranker(table, overrides, environ)
    if rerank_kind == BI_ENCODER and embedding is None:
        raise ConfigError(f'{path}: [reranker] kind = "bi-encoder" needs an embedding model')
    if embedding is None and reranker is None:
        raise ConfigError(f"{path}: neither an [embedding] nor a [reranker] model: nothing to build")
    mode, emulation, thresholds = _parity(table, overrides, environ, quantization)
    mixed = _mixed(table)
    table.finish()
    arch = _MACHINES.get(overrides.arch or platform.machine().lower())
    if arch is None:
        raise ConfigError(f"no such architecture: {overrides.arch or platform.machine()} (x86_64 or arm64)")
    return BuildConfig(
        embedding, reranker, rerank_kind, quantization, arch, mode, thresholds, emulation, mixed
    )


def _embedding(table: Table, overrides: Overrides, environ: Mapping[str, str]) -> EmbeddingConfig | None:
    section = table.table("embedding")
    override = overrides.embedding or environ.get("EMBEDDING_MODEL")
    if override == NO_MODEL or (section is None and override is None):
        if section is not None:
            section.discard()
        return None
    if section is None:
        raise ConfigError(
            f"{table.where}: an embedding source was given, but there is no [embedding] with its pooling"
        )
    source, name = _source(
        section, overrides.embedding, environ, "EMBEDDING_MODEL", "MODEL_REVISION_EMBEDDING"
    )
    prompts = section.table("prompts")
    return EmbeddingConfig(
        source=source,
        id=name,
        pooling=cast(Pooling, section.choice("pooling", get_args(Pooling))),
        max_tokens=section.integer("max_tokens", minimum=3),
        prompts=None if prompts is None else {role: prompts.text(role, "") for role in ("query", "passage")},
        dimensions=section.integers("dimensions", minimum=1),
        normalize=section.flag("normalize", default=False),
    )


def _reranker(
    table: Table, overrides: Overrides, environ: Mapping[str, str]
) -> tuple[RerankKind | None, RerankerConfig | None]:
    section = table.table("reranker")
    override = overrides.reranker or environ.get("RERANKER_MODEL")
    kind = None if section is None else section.choice("kind", get_args(RerankKind), "cross-encoder")
    chosen = override if override in (BI_ENCODER, NO_MODEL) else "cross-encoder" if override else kind
    if chosen != "cross-encoder":
        if section is not None and kind == "cross-encoder":
            section.discard()
        return ("bi-encoder" if chosen == BI_ENCODER else None), None
    if section is None:
        raise ConfigError(f"{table.where}: a reranker source was given, but there is no [reranker] section")
    source, name = _source(section, overrides.reranker, environ, "RERANKER_MODEL", "MODEL_REVISION_RERANKER")
    return "cross-encoder", RerankerConfig(
        source=source,
        id=name,
        activation=cast(Activation, section.choice("activation", get_args(Activation), "sigmoid")),
        max_tokens=section.integer("max_tokens", minimum=5, default=512),
    )


def _source(
    section: Table, flag: str | None, environ: Mapping[str, str], variable: str, revision_variable: str
) -> tuple[Source, str]:
    """The source and the model's id. The config's own ``id`` belongs to the config's own source."""
    declared_id = section.text("id", "")
    configured = section.text("source", "")
    override = flag or environ.get(variable)
    where = "the command line" if flag else variable if override else section.where
    text = override or configured
    if not text:
        raise ConfigError(f"{section.where}: source is missing")
    source = parse_source(text, where)
    revision = environ.get(revision_variable)
    # A revision written into a flag is nearer to the user than a variable.
    if revision and not (flag and isinstance(source, HubSource) and source.revision):
        if not isinstance(source, HubSource):
            raise ConfigError(f"{revision_variable} is set, but {text} is no hub source")
        source = replace(source, revision=revision)
    name = describe_source(source)["name"]
    own = bool(configured) and name == describe_source(parse_source(configured, section.where))["name"]
    return source, declared_id if declared_id and (own or not override) else name


def _quantization(table: Table, overrides: Overrides, environ: Mapping[str, str]) -> str:
    configured = table.choice("quantization", QUANTIZATIONS, "int8")
    if overrides.quantization:
        if overrides.quantization not in QUANTIZATIONS:
            raise ConfigError(
                f"--quantization: no scheme {overrides.quantization!r} (one of {', '.join(QUANTIZATIONS)})"
            )
        return overrides.quantization
    named = environ.get("QUANTIZATION", "").strip()
    if named and named not in QUANTIZATIONS:
        raise ConfigError(f"QUANTIZATION: no scheme {named!r} (one of {', '.join(QUANTIZATIONS)})")
    configured = named or configured
    wanted = environ.get("USE_QUANTIZATION", "").strip().lower()
    if not wanted:
        return configured
    if wanted in _FALSE:
        return "none"
    if wanted in _TRUE:
        return configured if configured != "none" else "int8"
    raise ConfigError(f"USE_QUANTIZATION is {wanted!r}: true or false")


def _parity(
    table: Table, overrides: Overrides, environ: Mapping[str, str], quantization: str
) -> tuple[ParityMode, EmulationMode, Thresholds]:
    section = table.table("parity")
    if section is None:
        raise ConfigError(f"{table.where}: [parity] with the thresholds is missing")
    configured = section.choice("mode", get_args(ParityMode), "fail")
    mode = overrides.parity or environ.get("MODEL_PARITY") or configured
    if mode not in get_args(ParityMode):
        raise ConfigError(f"parity is {mode!r}: one of {', '.join(get_args(ParityMode))}")
    emulation = environ.get("MODEL_EMULATION") or section.choice("emulation", get_args(EmulationMode), "auto")
    if emulation not in get_args(EmulationMode):
        raise ConfigError(f"MODEL_EMULATION is {emulation!r}: one of {', '.join(get_args(EmulationMode))}")
    schemes = {name: _thresholds(section, name) for name in QUANTIZATIONS if section.has(name)}
    if quantization not in schemes:
        raise ConfigError(
            f"{section.where}: [parity.{quantization}] with the thresholds of that scheme is missing"
        )
    return cast(ParityMode, mode), cast(EmulationMode, emulation), schemes[quantization]


def _mixed(table: Table) -> Mixed:
    section = table.table("mixed")
    if section is None:
        return Mixed()
    least = section.fraction("min_fidelity", Mixed().min_fidelity)
    roles = {role: section.table(role) for role in ("embedding", "reranker")}
    return Mixed(
        least,
        {
            role: {name: assigned.choice(name, ("int8", "int8-block", "fp32")) for name in assigned.names()}
            for role, assigned in roles.items()
            if assigned is not None
        },
    )


def _thresholds(section: Table, scheme: str) -> Thresholds:
    table = section.required_table(scheme)
    embedding, reranker = table.required_table("embedding"), table.required_table("reranker")
    return Thresholds(
        EmbeddingThresholds(**_fractions(embedding, EmbeddingThresholds)),
        RerankerThresholds(**_fractions(reranker, RerankerThresholds)),
    )


def _fractions(table: Table, kind: type[EmbeddingThresholds] | type[RerankerThresholds]) -> dict[str, float]:
    """Thresholds with a default may be left out."""
    return {
        one.name: table.fraction(one.name, None if one.default is MISSING else one.default)
        for one in fields(kind)
    }
