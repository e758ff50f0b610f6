"""The prompts of an embedder: the config file's, or those that the model declares; never a mixture."""

from __future__ import annotations

from collections.abc import Mapping

from builder.config.schema import EmbeddingConfig
from builder.errors import ModelMismatchError
from builder.sources.files import ModelFiles

DECLARATION = "config_sentence_transformers.json"
# sentence-transformers' names of the input types; encode_document takes the first of its that is there.
_NAMES = {"query": ("query",), "passage": ("document", "passage", "corpus")}
_CURE = "write what you want into [embedding.prompts]"


def resolve_prompts(files: ModelFiles, config: EmbeddingConfig) -> dict[str, str]:
    """The prompt of each input type, empty where there is none.

    Raises:
        ModelMismatchError: the config and the model say different things, or the model says nothing clear.
    """
    content = files.json(DECLARATION) or {}
    declared = content.get("prompts")
    if not isinstance(declared, dict):
        declared = {}
    prompts = {input_type: _prompt(input_type, declared, config) for input_type in _NAMES}
    if config.prompts is None:
        _check_default(content.get("default_prompt_name"), declared, config.id)
    return prompts


def _prompt(input_type: str, declared: Mapping[str, object], config: EmbeddingConfig) -> str:
    # sentence-transformers writes empty prompts for models that declare none.
    named = {name: str(declared[name]) for name in _NAMES[input_type] if declared.get(name)}
    choices = list(dict.fromkeys(named.values()))
    if config.prompts is None:
        if len(choices) > 1:
            raise ModelMismatchError(
                f"{config.id} has several prompts for a {input_type} "
                f"({', '.join(map(repr, choices))}): {_CURE}",
                code="prompts_mismatch",
            )
        return choices[0] if choices else ""
    configured = config.prompts.get(input_type, "")
    if choices and configured not in choices:
        name, prompt = next(iter(named.items()))
        raise ModelMismatchError(
            f"{config.id} has the {name} prompt {prompt!r}, the config says {configured!r}: write "
            f"{input_type} = {_toml(prompt)}, or leave [embedding.prompts] out to take the model's",
            code="prompts_mismatch",
        )
    return configured


def _check_default(default: object, declared: Mapping[str, object], name: str) -> None:
    """Refuses a prompt that goes before every text: here every text has an input type."""
    prompt = declared.get(default) if isinstance(default, str) else None
    input_types = {one for names in _NAMES.values() for one in names}
    if prompt and default not in input_types:
        raise ModelMismatchError(
            f"{name} puts {prompt!r} before every text (default_prompt_name in {DECLARATION}), and a "
            f"text here is a query or a passage: {_CURE}",
            code="prompts_mismatch",
        )


def _toml(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
