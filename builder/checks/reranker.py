"""A cross-encoder's own files against the config; as :mod:`builder.checks.embedder` does it."""

from __future__ import annotations

from typing import Any

from builder.checks.architecture import Architecture, read_architecture, read_config
from builder.checks.tokens import check_max_tokens, check_segments, check_sides
from builder.config.schema import RerankerConfig
from builder.errors import ModelMismatchError
from builder.sources.files import ModelFiles


def check_reranker(files: ModelFiles, config: RerankerConfig) -> Architecture:
    """Returns what a cross-encoder's files say of its architecture.

    Raises:
        ModelMismatchError: they contradict the config.
        SourceError: they cannot be read.
    """
    content = read_config(files, config.id)
    names = content.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in names):
        raise ModelMismatchError(
            f"{config.id} is not a cross-encoder: its architecture is {names[0] if names else 'not given'}, "
            'expected one ...ForSequenceClassification (or rank by cosine: kind = "bi-encoder")',
            code="wrong_task",
        )
    labels = content.get("num_labels", len(content.get("id2label") or {}) or 2)
    if labels != 1:
        raise ModelMismatchError(
            f"{config.id} has {labels} labels, a cross-encoder that scores relevance has one: "
            'take one that does, or rank by cosine with kind = "bi-encoder"',
            code="wrong_task",
        )
    _check_activation(content, config)
    check_sides(files, config.id)
    check_segments(files, content, config.id)
    check_max_tokens(files, content, config.id, config.max_tokens)
    return read_architecture(files, content, config.id)


def _check_activation(content: dict[str, Any], config: RerankerConfig) -> None:
    """Compares the config with the activation that sentence-transformers' CrossEncoder wrote down, if any."""
    section = content.get("sentence_transformers")
    declared = section.get("activation_fn") if isinstance(section, dict) else None
    declared = declared or content.get("sbert_ce_default_activation_function")
    if not isinstance(declared, str):
        return
    name = declared.rsplit(".", 1)[-1].lower()
    # The logits of a model without an activation rank the same behind a sigmoid, which may be chosen for it.
    if name != config.activation and (name, config.activation) != ("identity", "sigmoid"):
        cure = f'write activation = "{name}"' if name in ("sigmoid", "identity") else "take another model"
        raise ModelMismatchError(
            f"{config.id} scores with {name!r} (config.json), the config says {config.activation!r}: {cure}",
            code="activation_mismatch",
        )
