"""The transformer inside a model: of which family it is, and whether its files belong together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from builder.checks.families import FAMILIES
from builder.checks.tokens import read_tokenizer
from builder.errors import ModelMismatchError, SourceError
from builder.sources.files import CONFIG, TOKENIZER, ModelFiles
from builder.sources.safetensors import safetensors_header

# What transformers does without code from elsewhere; the build chooses one of its own anyway.
_ATTENTION = ("eager", "sdpa", "flex_attention", "flash_attention_2", "flash_attention_3")
_MAX_LAYERS = 1000
_WORD_EMBEDDINGS = ("word_embeddings.weight", "tok_embeddings.weight")


@dataclass(frozen=True, slots=True)
class Architecture:
    """Of the transformer. ``vocabulary`` is the number of rows of the word-embedding table."""

    name: str
    hidden_size: int
    heads: int
    vocabulary: int
    pad_token_id: int


def read_config(files: ModelFiles, name: str) -> dict[str, Any]:
    """``config.json``, of a family that is carried over and without code of its own.

    Raises:
        ModelMismatchError: it is neither.
        SourceError: it cannot be read.
    """
    content: dict[str, Any] | None = files.json(CONFIG)
    if content is None:
        raise SourceError(f"there is no {CONFIG}", code="file_not_found")
    if content.get("auto_map"):
        raise ModelMismatchError(
            f"{CONFIG} asks for code from the model's repository (auto_map), which is never run here: "
            "take a model that transformers knows by itself",
            code="remote_code",
        )
    attention = content.get("_attn_implementation", content.get("attn_implementation"))
    if attention is not None and attention not in _ATTENTION:
        raise ModelMismatchError(
            f"{CONFIG} asks for an attention of its own (_attn_implementation), which can be code from the "
            "hub and is never run here: remove the key in a copy of the model",
            code="remote_code",
        )
    if "transformers_weights" in content:
        raise ModelMismatchError(
            f"{CONFIG} names other weights (transformers_weights): remove the key in a copy of the model",
            code="unsupported_model",
        )
    family = content.get("model_type")
    if family is None:
        raise ModelMismatchError(
            f"{CONFIG} of {name} has no model_type: write the family into a copy, one of "
            f"{', '.join(FAMILIES)} (transformers' save_pretrained writes it)",
            code="unsupported_model",
        )
    if not isinstance(family, str) or family not in FAMILIES:
        raise ModelMismatchError(
            f"{name} is a {family!r} model ({CONFIG}), which this build does not carry over: "
            f"take one of {', '.join(FAMILIES)}",
            code="unsupported_model",
        )
    return content


def read_architecture(files: ModelFiles, content: Mapping[str, Any], name: str) -> Architecture:
    """The shape in ``config.json``, after a look at weights and tokenizer.

    Raises:
        ModelMismatchError: they do not belong together.
        SourceError: one of them cannot be read.
    """
    family = FAMILIES[content["model_type"]]
    try:
        architecture = Architecture(
            name=str(content["model_type"]),
            hidden_size=int(content[family.hidden_size]),
            heads=int(content[family.heads]),
            vocabulary=int(content["vocab_size"]),
            pad_token_id=int(content.get("pad_token_id") or 0),
        )
        layers = int(content[family.layers])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ModelMismatchError(
            f"{name}: {CONFIG} has no {str(error.args[0])!r} of a {content['model_type']} model: "
            "take the one that belongs to the weights",
            code="unsupported_model",
        ) from error
    _check_size(files, architecture, layers, name)
    _check_vocabulary(files, architecture, name)
    return architecture


def _check_size(files: ModelFiles, architecture: Architecture, layers: int, name: str) -> None:
    """A config of more layers than the weights have would get random ones, in any amount of memory."""
    held = sum(
        math.prod(entry["shape"])
        for file in files.files
        if file.endswith(".safetensors")
        for tensor, entry in safetensors_header(files.directory / file).items()
        if tensor != "__metadata__"
    )
    width = architecture.hidden_size
    # Of each layer only the attention's four matrices, which every family has.
    described = layers * 4 * width * width + architecture.vocabulary * width
    if min(layers, width, architecture.heads) < 1 or layers > _MAX_LAYERS or described > 2 * held:
        raise ModelMismatchError(
            f"{name} has {held} numbers in its weights, and {CONFIG} describes {layers} layers of {width}: "
            "take both from the same revision",
            code="unsupported_model",
        )


def _check_vocabulary(files: ModelFiles, architecture: Architecture, name: str) -> None:
    rows = architecture.vocabulary
    for file in files.files:
        if not file.endswith(".safetensors"):
            continue
        for tensor, entry in safetensors_header(files.directory / file).items():
            if tensor.endswith(_WORD_EMBEDDINGS) and entry["shape"][0] != rows:
                raise ModelMismatchError(
                    f"{name} has {entry['shape'][0]} word embeddings, its {CONFIG} says vocab_size {rows}: "
                    "take both from the same revision",
                    code="vocabulary_mismatch",
                )
    largest = max(read_tokenizer(files, name).get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= rows:
        raise ModelMismatchError(
            f"{name}'s tokenizer has ids up to {largest}, but there are {rows} word embeddings: "
            f"they do not belong together; take {TOKENIZER} and weights from the same revision",
            code="vocabulary_mismatch",
        )
