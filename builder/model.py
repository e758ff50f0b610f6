"""One model of a bundle: exported, quantized, laid out, and described for the manifest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import onnx

from builder.bundle import fingerprint, list_files
from builder.config.schema import BuildConfig, EmbeddingConfig, Pooling, RerankerConfig
from builder.graph.export import export_model, finish_graph, save_model
from builder.graph.reference import load_dense, load_torch_model
from builder.inputs import ModelInput
from builder.layout import write_model
from builder.memory import release_memory
from builder.progress import Progress
from builder.quantization.activation_scale import read_scales
from builder.quantization.calibration import Batch, calibration_batches
from builder.quantization.pipeline import quantize_model
from builder.quantization.schemes import describe, mixed_quantizer
from builder.tokenizer.compile import compile_tokenizer
from builder.tokenizer.effective import check_lower_case, write_effective_tokenizer
from lambda_app.bundle import ModelInfo


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model of the finished bundle.

    ``source_bytes`` is the size of what it was made from. ``assignment`` has the scheme of each product,
    where products differ in it, ``activations`` how each quantized tensor is scaled.
    """

    info: ModelInfo
    source_bytes: int
    assignment: Mapping[str, str] | None = None
    activations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def build_model(
    source: ModelInput, config: BuildConfig, stage: Path, progress: Progress, exports: Path | None
) -> BuiltModel:
    """Builds one model into its directory below ``stage``.

    ``exports`` is a directory that keeps the exported graph for further builds, None to keep none.

    Raises:
        BuildError: a step failed.
    """
    task, architecture = source.task, source.architecture
    directory = stage / task
    work = stage / f".{task}"
    directory.mkdir()
    work.mkdir()
    embedding = source.config if isinstance(source.config, EmbeddingConfig) else None
    pooling = None if embedding is None else embedding.pooling
    tokenizer_json = work / "tokenizer.json"
    write_effective_tokenizer(
        source.files.directory, source.config.id, architecture.vocabulary, tokenizer_json
    )
    if task == "embedding":
        check_lower_case(source.files, source.config.id, tokenizer_json)
    exported = _exported(source, work, pooling, progress, exports)
    with progress.step(f"{task}: quantize ({config.quantization})"):
        mixed = None
        if config.quantization == "mixed":
            mixed = mixed_quantizer(config.mixed, task, config.arch, progress.note)
        graph, scales = quantize_model(
            exported,
            config.quantization,
            config.arch,
            _calibration(source, tokenizer_json),
            heads=architecture.heads,
            hidden_size=architecture.hidden_size,
            vocabulary=architecture.vocabulary,
            work=work,
            mixed=mixed,
            recorded=read_scales(config.activations.get(task, {})),
        )
        names = tuple(value.name for value in graph.graph.input)
        dimensions = _dimensions(graph) if task == "embedding" else 1
        tensors = write_model(graph, directory)
    with progress.step(f"{task}: compile tokenizer"):
        tokenizer = compile_tokenizer(tokenizer_json, directory)
    shutil.rmtree(work)
    prompts = (None if embedding is None else embedding.prompts) or {}
    info = ModelInfo(
        task=task,
        directory=directory,
        id=source.config.id,
        source=source.files.record(),
        architecture=architecture.name,
        hidden_size=architecture.hidden_size,
        dimensions=dimensions,
        matryoshka=() if embedding is None else embedding.dimensions,
        max_tokens=source.config.max_tokens,
        pooling=pooling,
        prompts={name: prompt for name, prompt in prompts.items() if prompt},
        activation=source.config.activation if isinstance(source.config, RerankerConfig) else None,
        quantization=describe(config.quantization, config.arch),
        tokenizer_kind=tokenizer.kind,
        pad_token_id=architecture.pad_token_id,
        inputs=names,
        tensors=tensors,
        files=list_files(stage, task),
        parity={},
        fingerprint="",
    )
    info = info._replace(fingerprint=fingerprint(info))
    return BuiltModel(
        info,
        source.files.bytes,
        None if mixed is None else mixed.assignment,
        {name: scale.record() for name, scale in scales.items()},
    )


def _exported(
    source: ModelInput, work: Path, pooling: Pooling | None, progress: Progress, exports: Path | None
) -> Path:
    """Returns the graph's file, in ``exports`` where an earlier build has left it there, or exports it."""
    path = (work if exports is None else exports) / f"{source.task}.onnx"
    if not path.exists():
        with progress.step(f"{source.task}: export"):
            save_model(_export(source, work, pooling), path)
    return path


def _export(source: ModelInput, work: Path, pooling: Pooling | None) -> onnx.ModelProto:
    # The PyTorch model goes out of memory before its graph comes in.
    exported = export_model(load_torch_model(source.files.directory, source.task), source.task, work)
    release_memory()
    dense = load_dense(source.files.directory) if source.task == "embedding" else []
    return finish_graph(exported, source.task, pooling, source.architecture.hidden_size, dense)


def _calibration(source: ModelInput, tokenizer_json: Path) -> list[Batch]:
    prompts = source.config.prompts if isinstance(source.config, EmbeddingConfig) else None
    return calibration_batches(
        tokenizer_json,
        source.task,
        prompts=list((prompts or {}).values()),
        max_tokens=source.config.max_tokens,
        pad_token_id=source.architecture.pad_token_id,
    )


def _dimensions(graph: onnx.ModelProto) -> int:
    return int(graph.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)
