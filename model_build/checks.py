"""A model's own files against the config: a contradiction is an error, never a guess.

Everything here reads small JSON files and the headers of weights, so a build that cannot succeed ends before
PyTorch is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tokenizers import Tokenizer

from model_build.config import EmbeddingConfig, RerankerConfig
from model_build.errors import ModelMismatchError, SourceError
from model_build.source import CONFIG, MODULES, TOKENIZER, ModelFiles, read_json, safetensors_header

# Position ids of these start behind the padding id.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet")
_POOLING_KEYS = {"cls_token": "cls", "mean_tokens": "mean", "lasttoken": "last"}
_PROMPT_NAMES = {"query": ("query",), "passage": ("passage", "document", "corpus")}


@dataclass(frozen=True, slots=True)
class Architecture:
    """Of the transformer. ``vocabulary`` is the number of rows of the word-embedding table."""

    name: str
    hidden_size: int
    heads: int
    vocabulary: int
    pad_token_id: int


def check_embedder(files: ModelFiles, config: EmbeddingConfig) -> Architecture:
    """What the embedder's files say of its architecture.

    Raises:
        ModelMismatchError: they contradict the config.
        SourceError: they cannot be read.
    """
    content = _model_config(files)
    names = content.get("architectures") or []
    if any(str(name).endswith(("ForSequenceClassification", "ForTokenClassification")) for name in names):
        raise ModelMismatchError(
            f"{config.id} is a classifier ({names[0]}), not an embedder: did you mean it as the reranker?",
            code="wrong_task",
        )
    _check_modules(files, config)
    _check_prompts(files, config)
    _check_max_tokens(files, content, config.id, config.max_tokens)
    return _architecture(files, content, config.id)


def check_reranker(files: ModelFiles, config: RerankerConfig) -> Architecture:
    """What the embedder's files say of its architecture.

    Raises:
        ModelMismatchError: they contradict the config.
        SourceError: they cannot be read.
    """
    content = _model_config(files)
    names = content.get("architectures") or []
    if not any(str(name).endswith("ForSequenceClassification") for name in names):
        raise ModelMismatchError(
            f"{config.id} is no cross-encoder: its architecture is {names[0] if names else 'not given'}, "
            'expected one ...ForSequenceClassification (or rank by cosine: kind = "bi-encoder")',
            code="wrong_task",
        )
    labels = content.get("num_labels", len(content.get("id2label") or {}) or 2)
    if labels != 1:
        raise ModelMismatchError(
            f"{config.id} has {labels} labels, a cross-encoder has one", code="wrong_task"
        )
    _check_activation(content, config)
    _check_max_tokens(files, content, config.id, config.max_tokens)
    return _architecture(files, content, config.id)


def _model_config(files: ModelFiles) -> dict[str, Any]:
    content: dict[str, Any] | None = files.json(CONFIG)
    if content is None:
        raise SourceError(f"there is no {CONFIG}", code="file_not_found")
    if content.get("auto_map"):
        raise ModelMismatchError(
            "config.json asks for code from the model's repository (auto_map), which is never run here: "
            "take a model that transformers knows by itself",
            code="remote_code",
        )
    return content


def _check_modules(files: ModelFiles, config: EmbeddingConfig) -> None:
    """sentence-transformers' modules.json, where there is one: Transformer, Pooling and Normalize only."""
    modules = read_json(files.directory, MODULES)
    if modules is None:
        return
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise SourceError(f"{MODULES} of {config.id} is no list of modules", code="source_damaged")
    kinds = {
        str(module.get("type", "")).rsplit(".", 1)[-1]: str(module.get("path", "")) for module in modules
    }
    other = sorted(set(kinds) - {"Transformer", "Pooling", "Normalize"})
    if other:
        raise ModelMismatchError(
            f"{config.id} has a {other[0]} module, which this build does not carry over",
            code="unsupported_model",
        )
    if "Normalize" not in kinds:
        raise ModelMismatchError(
            f"{config.id} does not normalise its vectors ({MODULES} has no Normalize), and the function "
            "always does: dot products would differ from the model's own",
            code="pooling_mismatch",
        )
    if "Pooling" in kinds:
        pooling = _declared_pooling(files.json(f"{kinds['Pooling']}/{CONFIG}") or {})
        if pooling != config.pooling:
            raise ModelMismatchError(
                f"{config.id} pools by {pooling!r} ({kinds['Pooling']}/{CONFIG}), "
                f"the config says {config.pooling!r}",
                code="pooling_mismatch",
            )


def _declared_pooling(content: dict[str, Any]) -> str:
    mode = content.get("pooling_mode")
    if isinstance(mode, str):  # sentence-transformers 5 writes one name
        return {"lasttoken": "last"}.get(mode, mode)
    active = [
        key.removeprefix("pooling_mode_")
        for key, on in content.items()
        if key.startswith("pooling_mode_") and on
    ]
    return "+".join(_POOLING_KEYS.get(key, key) for key in sorted(active)) or "nothing"


def _check_prompts(files: ModelFiles, config: EmbeddingConfig) -> None:
    declared = (files.json("config_sentence_transformers.json") or {}).get("prompts")
    if not isinstance(declared, dict):
        return
    for role, names in _PROMPT_NAMES.items():
        for name in names:
            prompt, configured = declared.get(name), config.prompts.get(role, "")
            # sentence-transformers writes empty prompts for models that declare none.
            if prompt and prompt != configured:
                raise ModelMismatchError(
                    f"{config.id} has the {name} prompt {prompt!r}, the config says {configured!r}",
                    code="prompts_mismatch",
                )


def _check_activation(content: dict[str, Any], config: RerankerConfig) -> None:
    """Where sentence-transformers' CrossEncoder wrote down which activation its scores have."""
    section = content.get("sentence_transformers")
    declared = section.get("activation_fn") if isinstance(section, dict) else None
    declared = declared or content.get("sbert_ce_default_activation_function")
    if not isinstance(declared, str):
        return
    name = declared.rsplit(".", 1)[-1].lower()
    if name != config.activation:
        raise ModelMismatchError(
            f"{config.id} scores with {name!r} (config.json), the config says {config.activation!r}",
            code="activation_mismatch",
        )


def _check_max_tokens(files: ModelFiles, content: dict[str, Any], name: str, max_tokens: int) -> None:
    limits: dict[str, int] = {}
    positions = content.get("max_position_embeddings")
    if isinstance(positions, int):
        offset = (
            int(content.get("pad_token_id") or 0) + 1 if content.get("model_type") in _OFFSET_POSITIONS else 0
        )
        limits["its position embeddings"] = positions - offset
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),
    ):
        value = (files.json(file) or {}).get(key)
        if isinstance(value, int | float) and 0 < value < 10**9:  # transformers writes 10**30 for "no limit"
            limits[f"{file}"] = int(value)
    for where, limit in limits.items():
        if max_tokens > limit:
            raise ModelMismatchError(
                f"{name} takes {limit} tokens ({where}), the config says max_tokens = {max_tokens}",
                code="max_tokens_mismatch",
            )


def _architecture(files: ModelFiles, content: dict[str, Any], name: str) -> Architecture:
    try:
        architecture = Architecture(
            name=str(content["model_type"]),
            hidden_size=int(content["hidden_size"]),
            heads=int(content["num_attention_heads"]),
            vocabulary=int(content["vocab_size"]),
            pad_token_id=int(content.get("pad_token_id") or 0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelMismatchError(
            f"{name}: config.json has no {str(error.args[0])!r} of a BERT-like model",
            code="unsupported_model",
        ) from error
    _check_vocabulary(files, architecture, name)
    return architecture


def _check_vocabulary(files: ModelFiles, architecture: Architecture, name: str) -> None:
    rows = architecture.vocabulary
    for file in files.files:
        if not file.endswith(".safetensors"):
            continue
        for tensor, entry in safetensors_header(files.directory / file).items():
            if tensor.endswith("word_embeddings.weight") and entry["shape"][0] != rows:
                raise ModelMismatchError(
                    f"{name} has {entry['shape'][0]} word embeddings, its config.json says vocab_size {rows}",
                    code="vocabulary_mismatch",
                )
    try:
        tokenizer = Tokenizer.from_file(str(files.directory / TOKENIZER))
    except Exception as error:  # the library raises nothing more specific
        raise SourceError(f"{TOKENIZER} of {name} cannot be read: {error}", code="source_damaged") from error
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=0)
    if largest >= rows:
        raise ModelMismatchError(
            f"{name}'s tokenizer has ids up to {largest}, but there are {rows} word embeddings: "
            "they do not belong together",
            code="vocabulary_mismatch",
        )
