"""Control tokens: pieces of a vocabulary that no text may spell."""

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer as LibraryTokenizer

UNMATCHABLE = "\x00"
"""Requests with NUL are refused before they are tokenized."""


def control_pieces(specification: Mapping[str, Any]) -> set[str]:
    """Pieces that no text may spell: special tokens and the unknown token, as in sentencepiece."""
    control = {token["content"] for token in specification["added_tokens"] if token["special"]}
    model = specification["model"]
    if model["type"] == "Unigram" and model.get("unk_id") is not None:
        control.add(model["vocab"][model["unk_id"]][0])
    return control


def with_control_tokens_hidden(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The same tokenizer with its control pieces renamed, ids and scores kept, so that no text spells them.

    The unknown token of models that look it up by name keeps its name. Renamed tokens are no longer added
    tokens either: they would be given new ids, and push the ids of the others.
    """
    model = dict(specification["model"])
    control = control_pieces(specification) - {model.get("unk_token")}

    def hide(piece: str) -> str:
        return UNMATCHABLE + piece if piece in control else piece

    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {hide(piece): id_ for piece, id_ in vocabulary.items()}
    else:
        model["vocab"] = [[hide(piece), score] for piece, score in vocabulary]
    hidden = control & set(vocabulary if isinstance(vocabulary, dict) else dict(vocabulary))
    added = [token for token in specification["added_tokens"] if token["content"] not in hidden]
    return {**specification, "model": model, "added_tokens": added}


def reads_control_tokens(specification: Mapping[str, Any]) -> bool:
    """Whether text that spells a control token gets its id although the library was asked not to."""
    library = LibraryTokenizer.from_str(json.dumps(specification))
    library.encode_special_tokens = True
    control = {token["content"]: token["id"] for token in specification["added_tokens"] if token["special"]}
    control.pop(specification["model"].get("unk_token"), None)
    forms = [form for name in control for form in (name, f"a {name} b", f"a{name}b")]
    found = library.encode_batch_fast(forms, add_special_tokens=False)
    return any(set(one.ids) & set(control.values()) for one in found)
