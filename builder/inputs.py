"""The models that a config names: fetched, and checked against it, before the first long step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from builder.checks.architecture import Architecture
from builder.checks.embedder import check_embedder
from builder.checks.prompts import resolve_prompts
from builder.checks.reranker import check_reranker
from builder.config.schema import BuildConfig, EmbeddingConfig, RerankerConfig
from builder.progress import Progress
from builder.sources.fetch import fetch
from builder.sources.files import ModelFiles
from lambda_app.bundle import Task


@dataclass(frozen=True, slots=True)
class ModelInput:
    """One model to build.

    ``config`` is what the config asks of it, with the prompts that the model declares where the config names
    none. ``architecture`` is what its files say.
    """

    task: Task
    config: EmbeddingConfig | RerankerConfig
    files: ModelFiles
    architecture: Architecture


def gather_inputs(config: BuildConfig, cache: Path, progress: Progress) -> list[ModelInput]:
    """Fetches and checks every model of a config, embedding first.

    Raises:
        SourceError: a model cannot be had.
        ModelMismatchError: its files contradict the config.
    """
    inputs = []
    if config.embedding is not None:
        with progress.step("embedding: fetch and check"):
            files = fetch(config.embedding.source, cache)
            architecture = check_embedder(files, config.embedding)
            embedding = replace(config.embedding, prompts=resolve_prompts(files, config.embedding))
        inputs.append(ModelInput("embedding", embedding, files, architecture))
    if config.reranker is not None:
        with progress.step("reranker: fetch and check"):
            files = fetch(config.reranker.source, cache)
            architecture = check_reranker(files, config.reranker)
        inputs.append(ModelInput("reranker", config.reranker, files, architecture))
    return inputs
