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


def check_module_options(files: ModelFiles, name: str) -> None:
    """Checks that ``sentence_bert_config.json`` gives the tokenizer no options of its own.

    Raises:
        ModelMismatchError: it gives some.
    """
    options = (files.json("sentence_bert_config.json") or {}).get("tokenizer_args")
    if options:
        keys = ", ".join(map(str, options)) if isinstance(options, dict) else "not an object"
        raise ModelMismatchError(
            f"{name} has options for its tokenizer in sentence_bert_config.json (tokenizer_args: {keys}): "
            "write them into tokenizer_config.json in a copy of the model, and remove tokenizer_args",
            code="tokenizer_mismatch",
        )


def check_sides(files: ModelFiles, name: str) -> None:
    """Checks that texts are cut and padded at their end, as the function does unless a request says else.

    What else ``tokenizer_config.json`` changes is carried over (``builder.tokenizer.effective``).

    Raises:
        ModelMismatchError: they are cut or padded at their beginning.
    """
    options = files.json("tokenizer_config.json") or {}
    tokenizer = read_tokenizer(files, name)
    sides = {"truncation_side": ("cuts", tokenizer.truncation), "padding_side": ("pads", tokenizer.padding)}
    for key, (does, own) in sides.items():
        if options.get(key, (own or {}).get("direction", "right")) != "right":
            where = f"{key} of tokenizer_config.json" if key in options else f"direction in {TOKENIZER}"
            raise ModelMismatchError(
                f"{name} {does} texts on the left ({where}), the function on the right: "
                "remove the key in a copy of the model to agree to that",
                code="tokenizer_mismatch",
            )


def check_segments(files: ModelFiles, content: Mapping[str, Any], name: str) -> None:
    """Checks that a cross-encoder with token types is given them.

    transformers passes what ``model_input_names`` lists; the function passes what the model takes.

    Raises:
        ModelMismatchError: the list leaves them out, and the tokenizer tells the texts of a pair apart.
    """
    inputs = (files.json("tokenizer_config.json") or {}).get("model_input_names")
    if content.get("model_type") != "bert" or not isinstance(inputs, list) or "token_type_ids" in inputs:
        return
    if any(read_tokenizer(files, name).encode("a", "b").type_ids):
        raise ModelMismatchError(
            f"{name}: model_input_names of tokenizer_config.json lacks token_type_ids, which {TOKENIZER} "
            "gives and the model takes: add it in a copy of the model, or give both texts type 0 in "
            f"{TOKENIZER}, whichever the model was trained with",
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
