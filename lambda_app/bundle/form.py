"""The form of a manifest: its checksum says that nothing was altered, not that its writer knew the form."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

# The types of those fields of a model that are taken as they are.
_FIELDS: Mapping[str, Any] = {
    **dict.fromkeys(("id", "architecture", "fingerprint"), str),
    **dict.fromkeys(("hidden_size", "dimensions", "max_tokens", "pad_token_id"), int),
    **dict.fromkeys(("pooling", "activation"), str | None),
    **dict.fromkeys(("source", "prompts", "parity"), dict),
}


def has_form(manifest: Mapping[str, Any]) -> bool:
    """Whether the fields around the models are there, and of their types."""
    models = manifest.get("models")
    return (
        isinstance(models, dict)
        and models.keys() <= {"embedding", "reranker"}
        and all(isinstance(entry, dict) for entry in models.values())
        and isinstance(manifest.get("build"), dict)
        and manifest.get("rerank_kind", "") in ("cross-encoder", "bi-encoder", None)
    )


def check_fields(model: Mapping[str, Any], needed: Set[str]) -> None:
    """Checks a model's fields, and that its files include those that are needed.

    Raises:
        TypeError: a field is of another type.
        ValueError: a field has a value that cannot be.
    """
    for name, kinds in _FIELDS.items():
        value = model[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise TypeError(f"{name} is of another type")
    if model["tokenizer_kind"] not in ("library", "unigram", "wordpiece"):
        raise ValueError("tokenizer_kind is not known")
    if not all(isinstance(prompt, str) for prompt in model["prompts"].values()):
        raise TypeError("a prompt is not a string")
    if not all(isinstance(number, int) for number in model["matryoshka"]):
        raise TypeError("matryoshka holds no numbers")
    for tensor in model["tensors"]:
        if type(tensor.offset) is not int or type(tensor.bytes) is not int or min(tensor[3:5]) < 0:
            raise TypeError("a tensor has no place")
    for file in model["files"]:
        task, _, name = file.path.partition("/")
        if task != model["task"] or name in ("", "..") or "/" in name or type(file.bytes) is not int:
            raise ValueError("a file is not one of the model's")
    missing = needed - {file.path.partition("/")[2] for file in model["files"]}
    if missing:
        raise ValueError(f"files lacks {min(missing)}")
