"""What a model's files say of tokens: how many it takes, and what its tokenizer does to a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tokenizers
from tokenizers import Tokenizer

from builder.checks.families import FAMILIES
from builder.errors import ModelMismatchError, SourceError
from builder.sources.files import TOKENIZER, ModelFiles


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


def check_truncation_side(files: ModelFiles, name: str) -> None:
    """Checks that texts are cut at their end: the function keeps their beginning unless a request says else.

    Everything else that ``tokenizer_config.json`` changes is carried over (``builder.tokenizer.effective``).

    Raises:
        ModelMismatchError: they are cut at their beginning.
    """
    if (files.json("tokenizer_config.json") or {}).get("truncation_side", "right") != "right":
        raise ModelMismatchError(
            f"{name} cuts texts on the left (truncation_side of tokenizer_config.json), the function on the "
            "right: remove the key in a copy of the model to agree to that",
            code="tokenizer_mismatch",
        )


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
