"""The build from sources to bundle, step by step."""

from __future__ import annotations

import gc
import importlib.metadata
import logging
import platform
import shutil
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import onnx
import transformers

from builder.bundle import fingerprint, list_files, staged, write_manifest
from builder.config.config import BuildConfig, EmbeddingConfig, Pooling, RerankerConfig
from builder.errors import ParityError
from builder.graph.export import export_model, finish_graph, save_model
from builder.graph.reference import load_dense, load_torch_model
from builder.inputs import ModelInput
from builder.layout import write_model
from builder.parity import gate as parity
from builder.parity.evaluation import Evaluation
from builder.parity.instruction_sets import check_instruction_sets
from builder.parity.table import HEADING, report_rows
from builder.progress import Progress, megabytes, table
from builder.quantization.calibration import Batch, calibration_batches
from builder.quantization.mixed import replay
from builder.quantization.quantize import check_machine, describe, mixed_quantizer, quantize_model
from builder.tokenizer.compile import compile_tokenizer
from lambda_app.bundle import ModelInfo
from lambda_app.cpu import cpu_features

_TOOLS = ("torch", "transformers", "tokenizers", "optimum", "optimum-onnx", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model of the finished bundle, the size of what it was made from, and, where products differ in their
    scheme, the scheme of each."""

    info: ModelInfo
    source_bytes: int
    assignment: Mapping[str, str] | None = None


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
        built = [_make(one, config, stage, progress, exports) for one in inputs]
        facts = _facts(config, epoch)
        assignments = {one.info.role: dict(one.assignment) for one in built if one.assignment is not None}
        if assignments:
            facts["mixed"] = assignments
        write_manifest(stage, facts, [one.info for one in built], config.rerank_kind)
        if config.parity != "off":
            built = [
                _gate(one, source, config, progress, evaluation)
                for one, source in zip(built, inputs, strict=True)
            ]
            write_manifest(stage, facts, [one.info for one in built], config.rerank_kind)
    return built


def _make(
    source: ModelInput, config: BuildConfig, stage: Path, progress: Progress, exports: Path | None
) -> BuiltModel:
    role, architecture = source.role, source.architecture
    directory = stage / role
    work = stage / f".{role}"
    directory.mkdir()
    work.mkdir()
    pooling = source.config.pooling if isinstance(source.config, EmbeddingConfig) else None
    kept = None if exports is None else exports / f"{role}.onnx"
    if kept is not None and kept.exists():
        model = onnx.load(str(kept))
    else:
        with progress.step(f"{role}: export"):
            model = _export(source, work, pooling)
            if kept is not None:
                save_model(model, kept)
                model = onnx.load(str(kept))
    with progress.step(f"{role}: quantize ({config.quantization})"):
        mixed = None
        if config.quantization == "mixed":
            mixed = mixed_quantizer(config.mixed, role, config.arch, progress.note)
        graph = quantize_model(
            model,
            config.quantization,
            config.arch,
            _calibration(source),
            heads=architecture.heads,
            hidden_size=architecture.hidden_size,
            vocabulary=architecture.vocabulary,
            work=work,
            mixed=mixed,
        )
        names = tuple(value.name for value in graph.graph.input)
        dimensions = _dimensions(graph) if role == "embedding" else 1
        tensors = write_model(graph, directory)
    shutil.rmtree(work)
    with progress.step(f"{role}: compile tokenizer"):
        tokenizer = compile_tokenizer(source.files.directory / "tokenizer.json", directory)
    prompts = (source.config.prompts if isinstance(source.config, EmbeddingConfig) else None) or {}
    info = ModelInfo(
        role=role,
        directory=directory,
        id=source.config.id,
        source=source.files.record(),
        architecture=architecture.name,
        hidden_size=architecture.hidden_size,
        dimensions=dimensions,
        matryoshka=source.config.dimensions if isinstance(source.config, EmbeddingConfig) else (),
        max_tokens=source.config.max_tokens,
        pooling=pooling,
        prompts={name: prompt for name, prompt in prompts.items() if prompt},
        activation=source.config.activation if isinstance(source.config, RerankerConfig) else None,
        quantization=describe(config.quantization, config.arch),
        tokenizer_kind=tokenizer.kind,
        pad_token_id=architecture.pad_token_id,
        inputs=names,
        tensors=tensors,
        files=list_files(stage, role),
        parity={},
        fingerprint="",
    )
    info = info._replace(fingerprint=fingerprint(info))
    return BuiltModel(info, source.files.bytes, None if mixed is None else mixed.assignment)


def _export(source: ModelInput, work: Path, pooling: Pooling | None) -> onnx.ModelProto:
    # The PyTorch model goes out of memory before its graph comes in.
    exported = export_model(load_torch_model(source.files.directory, source.role), source.role, work)
    gc.collect()
    dense = load_dense(source.files.directory) if source.role == "embedding" else []
    return finish_graph(exported, source.role, pooling, source.architecture.hidden_size, dense)


def _calibration(source: ModelInput) -> list[Batch]:
    prompts = source.config.prompts if isinstance(source.config, EmbeddingConfig) else None
    return calibration_batches(
        source.files.directory / "tokenizer.json",
        source.role,
        prompts=list((prompts or {}).values()),
        max_tokens=source.config.max_tokens,
        pad_token_id=source.architecture.pad_token_id,
    )


def _dimensions(graph: onnx.ModelProto) -> int:
    return int(graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)


def _gate(
    built: BuiltModel,
    source: ModelInput,
    config: BuildConfig,
    progress: Progress,
    evaluation: Evaluation | None,
) -> BuiltModel:
    model, directory = built.info, source.files.directory
    with progress.step(f"{model.role}: parity"):
        if model.role == "embedding":
            report = parity.check_embedder(model, directory, config.thresholds.embedding, evaluation)
        else:
            report = parity.check_reranker(model, directory, config.thresholds.reranker, evaluation)
    gc.collect()
    with progress.step(f"{model.role}: other CPUs"):
        thresholds = config.thresholds.embedding if model.role == "embedding" else config.thresholds.reranker
        checked, cpus, failures = check_instruction_sets(
            model, config.arch, config.emulation, asdict(thresholds)
        )
    model = model._replace(quantization=model.quantization._replace(instruction_sets=checked))
    failures = [*report["failures"], *failures]
    report = {**report, "cpus": cpus, "passed": not failures, "failures": failures}
    if "skipped" in (emulation := cpus.get("emulation", {})):
        progress.note(f"{model.role}: not checked on an emulated CPU: {emulation['skipped']}")
    if not report["passed"]:
        message = f"the {model.role} model {model.id} ({model.quantization.scheme}): " + "; ".join(
            report["failures"]
        )
        if config.parity == "fail":
            raise ParityError(message)
        progress.note(f"warning[parity_failed]: {message}")
    return replace(built, info=model._replace(parity=report))


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
    """Libraries speak when something is wrong; how the export traces is not."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    logging.getLogger("optimum").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|optimum|onnx|onnxruntime)\b")


def summary(built: Sequence[BuiltModel], progress: Progress) -> str:
    """The tables at the end: bytes before and after, parity, seconds per step."""
    sizes: list[Sequence[str]] = [("model", "quantization", "source", "bundle", "ratio", "tokenizer")]
    figures: list[Sequence[str]] = [HEADING]
    for one in built:
        model = one.info
        size = sum(file.bytes for file in model.files)
        sizes.append(
            (
                f"{model.role}: {model.id}",
                f"{model.quantization.scheme} ({model.quantization.weight_bits} bits)",
                megabytes(one.source_bytes),
                megabytes(size),
                f"{size / one.source_bytes:.2f}",
                model.tokenizer_kind,
            )
        )
        figures.extend(report_rows(model.role, model.parity))
    steps: list[Sequence[str]] = [
        ("step", "seconds"),
        *((name, f"{seconds:.1f}") for name, seconds in progress.seconds.items()),
    ]
    steps.append(("total", f"{sum(progress.seconds.values()):.1f}"))
    tables = [sizes, figures, steps] if len(figures) > 1 else [sizes, steps]
    parts = [table(rows) for rows in tables]
    parts += [replay(one.info.role, one.assignment) for one in built if one.assignment is not None]
    return "\n\n".join(parts) + "\n"
