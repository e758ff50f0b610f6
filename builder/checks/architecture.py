"""The transformer inside a model: which families are carried over, and whether its files belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from builder.errors import ModelMismatchError, SourceError
from builder.sources.source import CONFIG, TOKENIZER, ModelFiles, safetensors_header


@dataclass(frozen=True, slots=True)
class Family:
    """What config.json calls things. ``offset_positions``: position ids start behind the padding id, so that
    as many positions are lost to texts."""

    offset_positions: bool = False
    hidden_size: str = "hidden_size"
    heads: str = "num_attention_heads"


# By config.json's model_type. tests/unit/builder/test_families.py compares each with sentence-transformers.
FAMILIES: Mapping[str, Family] = {
    "bert": Family(),
    "roberta": Family(offset_positions=True),
    "xlm-roberta": Family(offset_positions=True),
    "camembert": Family(offset_positions=True),
    "mpnet": Family(offset_positions=True),
    "distilbert": Family(hidden_size="dim", heads="n_heads"),
    "modernbert": Family(),
}
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
    family = content.get("model_type")
    if family not in FAMILIES:
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
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(
            f"{name}: {CONFIG} has no {str(error.args[0])!r} of a {content['model_type']} model: "
            "take the one that belongs to the weights",
            code="unsupported_model",
        ) from error
    _check_vocabulary(files, architecture, name)
    return architecture


def check_max_tokens(files: ModelFiles, content: Mapping[str, Any], name: str, max_tokens: int) -> None:
    """Checks ``max_tokens`` against the positions that the model has and the limits that its files state.

    Raises:
        ModelMismatchError: it is more.
    """
    limits: dict[str, int] = {}
    positions = content.get("max_position_embeddings")
    if isinstance(positions, int):
        lost = int(content.get("pad_token_id") or 0) + 1
        offset = lost if FAMILIES[content["model_type"]].offset_positions else 0
        limits["its position embeddings"] = positions - offset
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = (files.json(file) or {}).get(key)
        if isinstance(value, int | float) and 0 < value < 10**9:  # transformers writes 10**30 for "no limit"
            limits[file] = int(value)
    for where, limit in limits.items():
        if max_tokens > limit:
            raise ModelMismatchError(
                f"{name} takes {limit} tokens ({where}), the config says max_tokens = {max_tokens}: "
                f"write max_tokens = {min(limits.values())}",
                code="max_tokens_mismatch",
            )


def check_lower_case(files: ModelFiles, name: str) -> None:
    """sentence-transformers can lower-case texts before its tokenizer; here only ``tokenizer.json`` can.

    Raises:
        ModelMismatchError: the model asks for the first and has not the second.
    """
    if not (files.json("sentence_bert_config.json") or {}).get("do_lower_case"):
        return
    text = "Ab ÇD Éß Жу"
    ids = [
        read_tokenizer(files, name).encode(one, add_special_tokens=False).ids for one in (text, text.lower())
    ]
    if ids[0] != ids[1]:
        raise ModelMismatchError(
            f"{name} lower-cases its texts (sentence_bert_config.json), and its {TOKENIZER} does not: "
            f"add a Lowercase normalizer to {TOKENIZER} in a copy of the model",
            code="unsupported_model",
        )


def read_tokenizer(files: ModelFiles, name: str) -> Tokenizer:
    """The library's reading of ``tokenizer.json``.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return Tokenizer.from_file(str(files.directory / TOKENIZER))
    except Exception as error:  # the library raises nothing more specific
        raise SourceError(f"{TOKENIZER} of {name} cannot be read: {error}", code="source_damaged") from error


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
