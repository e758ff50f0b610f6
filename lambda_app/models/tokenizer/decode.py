"""Token ids to the texts of their pieces: the way back, for whoever wants to see tokens.

Loaded with the first request that does.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from lambda_app.bundle import TokenizerKind

TOKENIZER_JSON = "tokenizer.json"


def load_token_texts(directory: Path, kind: TokenizerKind) -> Callable[[int], str]:
    """A function from a token id to its text; an id of nothing gives an empty one.

    Raises:
        OSError: a file is missing.
        ValueError: the files do not belong together.
    """
    path = directory / TOKENIZER_JSON
    if kind == "library":
        from lambda_app.models.tokenizer.huggingface import read_library

        name = read_library(path).id_to_token
        return lambda token: name(token) or ""
    trie, ids = _open(directory, kind)
    # The ids in order, and which key of the trie each belongs to.
    order = ids.argsort(kind="stable")
    ordered = ids[order]
    # Control tokens are no pieces that a text could spell, so the trie has none of them.
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
    from lambda_app.models.tokenizer.vocabulary import open_pieces

    if kind == "unigram":
        from lambda_app.models.tokenizer import unigram

        trie, table = open_pieces(directory, unigram.RECORD, unigram.TRAILER)
        return trie, table["id"][: len(trie)]
    from lambda_app.models.tokenizer import wordpiece

    return open_pieces(directory, wordpiece.RECORD, 0)
