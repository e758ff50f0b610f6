"""What a model's files say of tokens: how many it takes, and what its tokenizer does to a text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import Tokenizer

from builder.checks.families import FAMILIES
from builder.errors import ModelMismatchError, SourceError
from builder.sources.files import TOKENIZER, ModelFiles

# What tokenizer_config.json and tokenizer.json call the same thing.
_NORMALIZER = {
    "do_lower_case": "lowercase",
    "strip_accents": "strip_accents",
    "tokenize_chinese_chars": "handle_chinese_chars",
}
_PRE_TOKENIZER = {"add_prefix_space": "add_prefix_space"}
_BERT_CLASSES = ("BertTokenizer", "DistilBertTokenizer", "MPNetTokenizer", "ElectraTokenizer")
_BERT_FAMILIES = ("bert", "distilbert", "mpnet")


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
    where, limit = min(limits.items(), key=lambda one: one[1], default=("", max_tokens))
    if max_tokens > limit:
        raise ModelMismatchError(
            f"{name} takes {limit} tokens ({where}), the config says max_tokens = {max_tokens}: "
            f"write max_tokens = {limit}",
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


def check_tokenizer_options(files: ModelFiles, content: Mapping[str, Any], name: str) -> None:
    """Transformers lets ``tokenizer_config.json`` override ``tokenizer.json``; the function reads the latter.

    Raises:
        ModelMismatchError: the two disagree.
    """
    options = files.json("tokenizer_config.json") or {}
    tokenizer = read_tokenizer(files, name)
    kind = str(options.get("tokenizer_class") or "").removesuffix("Fast")
    keys = dict(_PRE_TOKENIZER)
    if kind in _BERT_CLASSES or (not kind and content.get("model_type") in _BERT_FAMILIES):
        keys.update(_NORMALIZER)
    state = {**_state(tokenizer.pre_tokenizer), **_state(tokenizer.normalizer)}
    disagree = [
        key for key, own in keys.items() if key in options and state.get(own, options[key]) != options[key]
    ]
    if options.get("truncation_side") == "left":
        disagree.append("truncation_side")
    if disagree:
        raise ModelMismatchError(
            f"{name}: {disagree[0]} of tokenizer_config.json is not what {TOKENIZER} does: take both from "
            "one revision, or make them agree in a copy of the model",
            code="tokenizer_mismatch",
        )


def _state(part: Any) -> dict[str, Any]:
    return dict(json.loads(part.__getstate__())) if part is not None else {}


def read_tokenizer(files: ModelFiles, name: str) -> Tokenizer:
    """The library's reading of ``tokenizer.json``.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        return Tokenizer.from_file(str(files.directory / TOKENIZER))
    except Exception as error:  # the library raises nothing more specific
        raise SourceError(
            f"{TOKENIZER} of {name} cannot be read by tokenizers {tokenizers.__version__}: it is damaged, or "
            "of a newer format; save it again with AutoTokenizer of the transformers that "
            f"requirements/build.txt names ({str(error)[:200]})",
            code="source_damaged",
        ) from error
