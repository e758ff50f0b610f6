"""An embedder's own files against the config: a contradiction is an error that names its cure, never a guess.

Reads small JSON files and the headers of weights only, so a build that cannot succeed ends before PyTorch is
imported.
"""

from __future__ import annotations

import re
from typing import Any

from builder.checks.architecture import Architecture, read_architecture, read_config
from builder.checks.modules import Modules, read_modules
from builder.checks.prompts import DECLARATION, resolve_prompts
from builder.checks.tokens import check_max_tokens, check_module_options, check_sides
from builder.config.schema import EmbeddingConfig
from builder.errors import ModelMismatchError
from builder.sources.files import MODULES, ModelFiles

# transformers names classes with a head after the task; plain encoders end in Model.
_TASK = re.compile(r"For[A-Z]\w*$|LMHead\w*$")
# Trained on with a head that sentence-transformers leaves off, where it says so with a modules.json.
_LANGUAGE_MODEL = re.compile(r"(ForMaskedLM|ForPreTraining)$")


def check_embedder(files: ModelFiles, config: EmbeddingConfig) -> Architecture:
    """Returns what an embedder's files say of its architecture.

    Raises:
        ModelMismatchError: they contradict the config.
        SourceError: they cannot be read.
    """
    content = read_config(files, config.id)
    modules = read_modules(files.directory, config.id)
    declared = files.json(DECLARATION) or {}
    _check_embedding_task(content, declared, modules, config.id)
    architecture = read_architecture(files, content, config.id)
    prompts = resolve_prompts(files, config)
    own = architecture.hidden_size
    if modules is not None:
        _check_pooling(modules, config, any(prompts.values()))
        _check_normalize(modules, config, declared.get("similarity_fn_name"))
        own = _check_dense(modules, own, config.id)
    _check_dimensions(content, config, own)
    check_module_options(files, config.id)
    check_sides(files, config.id)
    check_max_tokens(files, content, config.id, config.max_tokens)
    return architecture


def _check_embedding_task(
    content: dict[str, Any], declared: dict[str, Any], modules: Modules | None, name: str
) -> None:
    kind = declared.get("model_type", "SentenceTransformer")
    if kind != "SentenceTransformer":
        raise ModelMismatchError(
            f"{name} is a {kind} ({DECLARATION}), not an embedder: take a SentenceTransformer model",
            code="wrong_task",
        )
    heads = [str(one) for one in content.get("architectures") or [] if _TASK.search(str(one))]
    if not heads:
        return
    if heads[0].endswith("ForSequenceClassification"):
        raise ModelMismatchError(
            f"{name} is a classifier ({heads[0]}), not an embedder: did you mean it as the reranker?",
            code="wrong_task",
        )
    if _LANGUAGE_MODEL.search(heads[0]):
        if modules is None:
            raise ModelMismatchError(
                f"{name} is a language model ({heads[0]}) without a {MODULES}: nothing says that its vectors "
                "were trained to be compared; take a model that was, or add the file if this one was",
                code="wrong_task",
            )
        return
    raise ModelMismatchError(
        f"{name} is made for another task ({heads[0]}), not an embedder: take a sentence-transformers model",
        code="wrong_task",
    )


def _check_pooling(modules: Modules, config: EmbeddingConfig, prompted: bool) -> None:
    if modules.pooling != config.pooling:
        cure = (
            f'write pooling = "{modules.pooling}"'
            if modules.pooling in ("mean", "cls", "last")
            else "take a model that pools by mean, cls or last"
        )
        raise ModelMismatchError(
            f"{config.id} pools by {modules.pooling!r} ({modules.pooling_file}), "
            f"the config says {config.pooling!r}: {cure}",
            code="pooling_mismatch",
        )
    if prompted and modules.pooling == "mean" and not modules.pools_prompt:
        raise ModelMismatchError(
            f"{config.id} leaves its prompts out of the mean (include_prompt in {modules.pooling_file}), "
            "which this build does not: take a model that pools them, or embed without prompts",
            code="pooling_mismatch",
        )


def _check_normalize(modules: Modules, config: EmbeddingConfig, similarity: object) -> None:
    if modules.normalizes or config.normalize:
        return
    compared = (
        f", and its vectors are compared by {similarity!r}" if similarity not in (None, "cosine") else ""
    )
    raise ModelMismatchError(
        f"{config.id} does not normalise its vectors ({MODULES} has no Normalize){compared}; the function's "
        "have length 1, so that dot products are cosines: write normalize = true to agree to that",
        code="pooling_mismatch",
    )


def _check_dense(modules: Modules, width: int, name: str) -> int:
    """Returns the width of the vectors behind the last Dense module."""
    for dense in modules.dense:
        if dense.in_features != width:
            raise ModelMismatchError(
                f"{dense.path} of {name} takes {dense.in_features} numbers, and {width} come to it: "
                "take all files from the same revision",
                code="pooling_mismatch",
            )
        width = dense.out_features
    return width


def _check_dimensions(content: dict[str, Any], config: EmbeddingConfig, own: int) -> None:
    if any(one >= own for one in config.dimensions):
        raise ModelMismatchError(
            f"{config.id} has vectors of {own} dimensions, and dimensions = {list(config.dimensions)} names "
            f"what they may be cut to: write smaller numbers (the full {own} are always there)",
            code="dimensions_mismatch",
        )
    declared = content.get("matryoshka_dimensions")
    unknown = [one for one in config.dimensions if isinstance(declared, list) and one not in declared]
    if unknown:
        raise ModelMismatchError(
            f"{config.id} was trained to be cut to {declared} dimensions (config.json), not to {unknown[0]}: "
            "write some of those",
            code="dimensions_mismatch",
        )
