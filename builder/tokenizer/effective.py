"""The ``tokenizer.json`` that transformers works with, which need not be the file of that name.

transformers opens the file and applies ``tokenizer_config.json`` over it, with its class's own defaults
for keys that are not there: ``do_lower_case``, ``strip_accents``, ``tokenize_chinese_chars``,
``add_prefix_space``, added tokens. Models are trained and used with what comes of that.
"""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from builder.errors import ModelMismatchError
from builder.sources.files import ModelFiles


def write_effective_tokenizer(directory: Path, name: str, vocabulary: int, target: Path) -> None:
    """Writes the ``tokenizer.json`` that transformers makes of a model's files.

    ``vocabulary`` is the number of word embeddings.

    Raises:
        ModelMismatchError: transformers cannot open it, or adds tokens that have no embedding.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            str(directory), local_files_only=True, trust_remote_code=False, use_fast=True
        )
    except Exception as error:  # what fails is in several libraries, each with errors of its own
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ModelMismatchError(
            f"transformers cannot open the tokenizer of {name} ({reason}): take tokenizer.json and "
            "tokenizer_config.json from one revision, of a tokenizer_class that transformers knows",
            code="tokenizer_mismatch",
        ) from error
    if not tokenizer.is_fast:
        raise ModelMismatchError(
            f"tokenizer_class of {name} is {type(tokenizer).__name__}, which does not read tokenizer.json: "
            "save a copy with AutoTokenizer, or remove the key from tokenizer_config.json in a copy",
            code="tokenizer_mismatch",
        )
    specification = tokenizer.backend_tokenizer.to_str()
    for token in json.loads(specification)["added_tokens"]:
        # Special ones are never read out of a text.
        if token["id"] >= vocabulary and not token["special"]:
            raise ModelMismatchError(
                f"{name}'s tokenizer_config.json adds {token['content']!r} with the id {token['id']}, but "
                f"there are {vocabulary} word embeddings: take it and the weights from the same revision",
                code="vocabulary_mismatch",
            )
    target.write_text(specification, encoding="utf-8")


def check_lower_case(files: ModelFiles, name: str, tokenizer_json: Path) -> None:
    """sentence-transformers can lower-case texts before its tokenizer; here only the tokenizer can.

    Raises:
        ModelMismatchError: an embedder asks for the first and has not the second.
    """
    if not (files.json("sentence_bert_config.json") or {}).get("do_lower_case"):
        return
    text = "Ab ÇD Éß Жу"
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    ids = [tokenizer.encode(one, add_special_tokens=False).ids for one in (text, text.lower())]
    if ids[0] != ids[1]:
        raise ModelMismatchError(
            f"{name} lower-cases its texts (do_lower_case of sentence_bert_config.json), and its tokenizer "
            "does not: add a Lowercase normalizer to tokenizer.json in a copy of the model, or "
            "do_lower_case to tokenizer_config.json where its class reads it",
            code="unsupported_model",
        )
