"""The build from sources to bundle, step by step."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import transformers

from builder.bundle import staged, write_manifest
from builder.config.schema import BuildConfig, EmbeddingConfig
from builder.errors import ParityError
from builder.inputs import ModelInput
from builder.memory import release_memory
from builder.model import BuiltModel, build_model
from builder.parity import fidelity
from builder.parity import gate as parity
from builder.parity.evaluation import Evaluation
from builder.parity.instruction_sets import check_instruction_sets
from builder.parity.table import HEADING, report_rows, verdict
from builder.progress import Progress, table
from builder.quantization.mixed import advice
from builder.quantization.schemes import check_machine
from lambda_app.cpu import cpu_features

_TOOLS = (
    "torch",
    "transformers",
    "sentence-transformers",
    "tokenizers",
    "optimum",
    "optimum-onnx",
    "onnx",
    "onnxruntime",
    "numpy",
)


def build(
    config: BuildConfig,
    inputs: Sequence[ModelInput],
    out: Path,
    progress: Progress,
    *,
    epoch: str | None = None,
    evaluation: Evaluation | None = None,
    exports: Path | None = None,
) -> list[BuiltModel]:
    """Builds the bundle at ``out``, replacing the one that is there when the new one is complete and passes.

    ``epoch`` is SOURCE_DATE_EPOCH: without it, nothing in the bundle tells the time. ``evaluation`` has data
    of the user's own for the parity gate. ``exports`` is a directory that keeps the exported graphs, which
    are the same whatever the scheme, for further builds from the same inputs.

    Raises:
        BuildError: what went wrong; nothing was changed at ``out``.
    """
    _quiet()
    check_machine(config.quantization, config.arch, cpu_features())
    with staged(out) as stage:
        built = [build_model(one, config, stage, progress, exports) for one in inputs]
        facts = _facts(config, epoch)
        assignments = {one.info.task: dict(one.assignment) for one in built if one.assignment is not None}
        if assignments:
            facts["mixed"] = assignments
        activations = {one.info.task: dict(one.activations) for one in built if one.activations}
        if activations:
            facts["activations"] = activations
        write_manifest(stage, facts, [one.info for one in built], config.rerank_kind)
        if config.parity != "off":
            built = [
                _gate(one, source, config, progress, evaluation)
                for one, source in zip(built, inputs, strict=True)
            ]
            write_manifest(stage, facts, [one.info for one in built], config.rerank_kind)
    return built


def _gate(
    built: BuiltModel,
    source: ModelInput,
    config: BuildConfig,
    progress: Progress,
    evaluation: Evaluation | None,
) -> BuiltModel:
    model, directory = built.info, source.files.directory
    with progress.step(f"{model.task}: parity"):
        if isinstance(source.config, EmbeddingConfig):
            report = parity.check_embedder(
                model, directory, source.config, config.thresholds.embedding, evaluation
            )
        else:
            report = parity.check_reranker(
                model, directory, source.config, config.thresholds.reranker, evaluation
            )
    release_memory()
    with progress.step(f"{model.task}: other CPUs"):
        thresholds = config.thresholds.embedding if model.task == "embedding" else config.thresholds.reranker
        checked, cpus, failures = check_instruction_sets(model, config.arch, config.emulation, thresholds)
    model = model._replace(quantization=model.quantization._replace(instruction_sets=checked))
    failures = [*report["failures"], *failures]
    report = {**report, "cpus": cpus, "passed": not failures, "failures": failures}
    if "skipped" in (emulation := cpus.get("emulation", {})):
        progress.note(f"{model.task}: not checked on an emulated CPU: {emulation['skipped']}")
    if not report["passed"]:
        message = f"the {model.task} model {model.id} ({model.quantization.scheme}): " + "; ".join(
            report["failures"]
        )
        if config.quantization == "mixed":
            message += f"; {advice(config.mixed, model.task)}"
        if config.parity == "fail":
            rows = [HEADING, *report_rows(model.task, report)]
            raise ParityError(message, table=f"{table(rows)}\n{verdict(model.task, report)}")
        progress.note(f"warning[parity_failed]: {message}")
    return replace(built, info=model._replace(parity=fidelity.finite(report)))


def _facts(config: BuildConfig, epoch: str | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "arch": config.arch,
        "python": platform.python_version(),
        "tools": {name: importlib.metadata.version(name) for name in _TOOLS},
        "config_sha256": config.digest(),
        "quantization": config.quantization,
    }
    if epoch is not None:
        facts["created"] = datetime.fromtimestamp(int(epoch), UTC).isoformat()
    return facts


def _quiet() -> None:
    """Silences what libraries say of how they trace; they may still report that something is wrong."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("optimum").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|optimum|onnx|onnxruntime)\b")
