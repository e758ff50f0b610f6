"""What a build is made of: the records that :mod:`builder.config.load` fills in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from builder.config.source_spec import Source, describe_source
from builder.quantization.thresholds import THRESHOLDS, Thresholds
from lambda_app.bundle import RerankKind

Arch = Literal["x86_64", "arm64"]
Pooling = Literal["mean", "cls", "last"]
Activation = Literal["sigmoid", "identity"]
ParityMode = Literal["fail", "warn", "off"]
# Whether the gate also runs on an emulated CPU: where QEMU is installed, always, or not.
EmulationMode = Literal["auto", "require", "off"]
# Names of the schemes, in the order of docs/QUANTIZATION.md.
QUANTIZATIONS = tuple(THRESHOLDS)
DEFAULT_CONFIG = "models.toml"
# `--reranker bi-encoder` ranks with the embedding model; `none` leaves a model out.
BI_ENCODER = "bi-encoder"
NO_MODEL = "none"


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """The embedding model.

    ``prompts`` go before a text by input type (query, passage), None for those that the model declares.
    ``max_tokens`` includes special tokens. ``dimensions`` are those that vectors may be cut to, largest
    first. ``normalize`` agrees to vectors of length 1 from a model that does not make them itself.
    """

    source: Source
    id: str
    pooling: Pooling
    max_tokens: int
    prompts: Mapping[str, str] | None
    dimensions: tuple[int, ...]
    normalize: bool


@dataclass(frozen=True, slots=True)
class RerankerConfig:
    """The reranking model, a cross-encoder; ``activation`` is what it was trained with behind its logit."""

    source: Source
    id: str
    activation: Activation
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Mixed:
    """The scheme ``mixed``.

    ``min_fidelity`` and ``min_top10_overlap`` are what to keep on the calibration texts. ``assignments`` has
    the scheme of each product by task, where an earlier build found it.
    """

    # all-MiniLM-L6-v2: 0.9992 and 0.971 in int8, 0.9999 and 0.988 with all products finer. The calibration
    # texts are nearer to each other than the gate's, so that neighbours change places more easily.
    min_fidelity: float = 0.9994
    min_top10_overlap: float = 0.965
    assignments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """One build; ``rerank_kind`` is None where nothing ranks.

    ``activations`` are the scales that an earlier build recorded, by task and tensor.
    """

    embedding: EmbeddingConfig | None
    reranker: RerankerConfig | None
    rerank_kind: RerankKind | None
    quantization: str
    arch: Arch
    parity: ParityMode
    thresholds: Thresholds
    emulation: EmulationMode = "auto"
    mixed: Mixed = Mixed()
    activations: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)

    def digest(self) -> str:
        """Returns the sha256 of what determines the bundle.

        Directories count by name: their files are hashed elsewhere.
        """
        content = asdict(replace(self, embedding=None, reranker=None))
        for task, model in (("embedding", self.embedding), ("reranker", self.reranker)):
            if model is not None:
                content[task] = {**asdict(model), "source": describe_source(model.source)}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Overrides:
    """The command line's flags; None where a flag was not given."""

    embedding: str | None = None
    reranker: str | None = None
    quantization: str | None = None
    parity: str | None = None
    arch: str | None = None
    replay: Path | None = None
