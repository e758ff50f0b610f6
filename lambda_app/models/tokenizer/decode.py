"""Decodes token ids to strings (only ``/tokenize`` needs it, and imports it)."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lambda_app.bundle import TOKENIZER_JSON

if TYPE_CHECKING:
    from lambda_app.bundle import TokenizerKind


def load_decoder(directory: Path, kind: TokenizerKind) -> Callable[[int], str]:
    """Returns a function from a token id to its text, empty for an id that the vocabulary does not have.

    Raises:
        OSError: a file is missing.
        ValueError: the files do not belong together.
    """
    path = directory / TOKENIZER_JSON
    if kind == "library":
        from lambda_app.models.tokenizer.huggingface import read_tokenizer

        name = read_tokenizer(path).id_to_token
        return lambda token: name(token) or ""
    trie, ids = _open(directory, kind)
    # The ids in order, and which key of the trie each belongs to.
    order = ids.argsort(kind="stable")
    ordered = ids[order]
    # Text cannot spell control tokens, so the trie has none of them.
    specification = json.loads(path.read_bytes())
    added: dict[int, str] = {token["id"]: token["content"] for token in specification["added_tokens"]}

    def text(token: int) -> str:
        if token in added:
            return added[token]
        place = int(np.searchsorted(ordered, token))
        if place == len(ordered) or ordered[place] != token:
            return ""
        piece: str = trie.restore_key(int(order[place]))
        return piece

    return text


def _open(directory: Path, kind: TokenizerKind) -> tuple[Any, np.ndarray]:
    """Returns a compiled vocabulary's trie, and the token id of each of its keys."""
    from lambda_app.models.tokenizer.vocabulary import open_vocabulary

    if kind == "unigram":
        from lambda_app.models.tokenizer import unigram

        trie, table = open_vocabulary(directory, unigram.RECORD, unigram.TRAILER)
        return trie, table["id"][: len(trie)]
    from lambda_app.models.tokenizer import wordpiece

    return open_vocabulary(directory, wordpiece.RECORD, 0)
