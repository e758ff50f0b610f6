"""The FP32 graph to the one that ships: fused, quantized, optimised, so that the function opens it as it is.

Fusion and quantization are onnxruntime's; the word-embedding table is done here, because one scale for the
whole table (all that the library offers for Gather) is too coarse. Schemes are entries of :data:`SCHEMES`.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from builder.config.config import Arch, Mixed
from builder.errors import ExportError
from builder.graph.export import save_model
from builder.quantization.blocks import quantize_blocks
from builder.quantization.calibration import Batch
from builder.quantization.dynamic import quantize_int8
from builder.quantization.mixed import MixedQuantizer
from lambda_app.bundle import Quantization

# Seven bits on x86-64: two products of an 8-bit activation and a weight (255 * 64 * 2 = 32640) fit 16 bits,
# in which AVX2's vpmaddubsw adds them: the same answers with and without VNNI. Arm has no such step.
_INT8_BITS: dict[Arch, int] = {"x86_64": 7, "arm64": 8}
_INT8_SAFE_ON: dict[Arch, tuple[str, ...]] = {
    "x86_64": ("avx2", "avx512", "avx_vnni", "avx512_vnni"),
    "arm64": ("neon", "dotprod", "i8mm"),
}
_FUSED_DOMAIN = "com.microsoft"
_HALF_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Scheme:
    """``prepare`` changes the exported graph, given its number of word embeddings; ``quantize`` reads the
    fused graph from one file and writes the quantized one to another, and may look at what calibration texts
    do to it; ``describe`` is for the manifest. ``attention`` makes attention with its projections one node,
    and else one without them; ``finish`` changes the optimised graph."""

    prepare: Callable[[ModelProto, int], None]
    quantize: Callable[[Path, Path, Arch, Sequence[Batch]], None]
    describe: Callable[[Arch], Quantization]
    attention: bool = True
    finish: Callable[[ModelProto], None] = lambda _model: None


def quantize_model(
    model: ModelProto,
    scheme: str,
    arch: Arch,
    batches: Sequence[Batch],
    *,
    heads: int,
    hidden_size: int,
    vocabulary: int,
    work: Path,
    mixed: MixedQuantizer | None = None,
) -> ModelProto:
    """Fuses, quantizes and optimises a graph for CPU; its inputs and outputs stay as they are.

    ``mixed`` does it in the scheme of that name. ``model`` is used up. Steps pass files on, so that
    the FP32 weights are in memory once.

    Raises:
        ExportError: onnxruntime cannot optimise or quantize the graph.
    """
    exported, fused, quantized, optimised = (
        work / f"{stage}.onnx" for stage in ("exported", "fused", "quantized", "optimised")
    )
    chosen = SCHEMES[scheme]
    with _quiet_logging():
        try:
            chosen.prepare(model, vocabulary)
            save_model(model, exported)
            # The exporter and the optimizer leave cycles that hold all weights: gigabytes, for large models.
            gc.collect()
            _fuse(exported, fused, heads=heads, hidden_size=hidden_size, attention=chosen.attention)
            exported.unlink()
            gc.collect()
            if mixed is not None:
                mixed(fused, quantized, batches)
            else:
                chosen.quantize(fused, quantized, arch, batches)
            _optimise(quantized, optimised)
            result = onnx.load(str(optimised))
            chosen.finish(result)
            return result
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ExportError(f"onnxruntime cannot quantize the graph ({scheme}): {reason}") from error


def describe(scheme: str, arch: Arch) -> Quantization:
    """What the manifest says of a scheme on an architecture."""
    return SCHEMES[scheme].describe(arch)


def _fuse(source: Path, target: Path, *, heads: int, hidden_size: int, attention: bool = True) -> None:
    """Attention, GELU and layer-norm fusions where the architecture's graph has them, else nothing.

    Attention as one node (not MultiHeadAttention): same speed, a third less to load. EmbedLayerNormalization
    stays unfused, because it would read the word-embedding table in FP32; SkipLayerNormalization, because its
    CPU kernel is slower than Add and LayerNormalization are: 9 to 13% of a whole INT8 e5-base inference.
    """
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    options.enable_skip_layer_norm = False
    options.enable_bias_skip_layer_norm = False
    options.use_multi_head_attention = not attention
    fused = optimize_model(
        str(source),
        model_type="bert",
        num_heads=heads,
        hidden_size=hidden_size,
        optimization_options=options,
        opt_level=0,
    ).model
    fused.graph.name = "model"
    if not any(entry.domain == _FUSED_DOMAIN for entry in fused.opset_import):
        fused.opset_import.append(helper.make_opsetid(_FUSED_DOMAIN, 1))
    save_model(fused, target)


def mixed_quantizer(mixed: Mixed, role: str, arch: Arch, note: Callable[[str], None]) -> MixedQuantizer:
    """For a model of the scheme ``mixed``."""
    return MixedQuantizer(mixed.min_fidelity, _INT8_BITS[arch], mixed.assignments.get(role), note)


def _int8(source: Path, target: Path, arch: Arch, batches: Sequence[Batch]) -> None:
    quantize_int8(source, target, batches, bits=_INT8_BITS[arch])


def _int8_full(source: Path, target: Path, _arch: Arch, batches: Sequence[Batch]) -> None:
    quantize_int8(source, target, batches, bits=8)


def _int8_blocks(source: Path, target: Path, _arch: Arch, batches: Sequence[Batch]) -> None:
    quantize_blocks(source, target, batches, bits=8)


def _int4_blocks(source: Path, target: Path, _arch: Arch, batches: Sequence[Batch]) -> None:
    quantize_blocks(source, target, batches, bits=4)


def _keep(source: Path, target: Path, _arch: Arch, _batches: Sequence[Batch]) -> None:
    """Leaves FP32 as it is. The weights' file is named in the graph, so it stays where it is."""
    source.rename(target)


def _nothing(_model: ModelProto, _vocabulary: int) -> None:
    """FP32 keeps its word embeddings."""


def quantize_embedding_rows(model: ModelProto, vocabulary: int) -> None:
    """Makes the table behind ``Gather(table, input_ids)`` INT8 with one scale per row.

    Rows and scales are gathered first and multiplied after: a request reads its own rows and nothing else.
    A graph whose lookup is not of that form keeps its table.
    """
    found = find_embedding(model, vocabulary)
    if found is None:
        return
    node, position = found
    initializer = model.graph.initializer
    name = node.input[0]
    table = next(tensor for tensor in initializer if tensor.name == name)
    rows = numpy_helper.to_array(table)
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    quantized = np.rint(rows / scales).astype(np.int8)
    ids, output = node.input[1], node.output[0]
    replacement = [
        helper.make_node("Gather", [f"{name}_int8", ids], [f"{output}_int8"], f"{node.name}_int8"),
        helper.make_node(
            "Cast", [f"{output}_int8"], [f"{output}_cast"], f"{node.name}_cast", to=TensorProto.FLOAT
        ),
        helper.make_node("Gather", [f"{name}_scale", ids], [f"{output}_scale"], f"{node.name}_scale"),
        helper.make_node("Mul", [f"{output}_cast", f"{output}_scale"], [output], f"{node.name}_mul"),
    ]
    nodes = [*model.graph.node[:position], *replacement, *model.graph.node[position + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if not any(name in other.input for other in nodes):
        initializer.remove(table)
    initializer.extend(
        [
            numpy_helper.from_array(quantized, f"{name}_int8"),
            numpy_helper.from_array(scales, f"{name}_scale"),
        ]
    )


def find_embedding(model: ModelProto, vocabulary: int) -> tuple[NodeProto, int] | None:
    """The Gather that looks up word embeddings, and its place in the graph."""
    tables = {
        tensor.name
        for tensor in model.graph.initializer
        if len(tensor.dims) == 2 and tensor.dims[0] == vocabulary and tensor.data_type == TensorProto.FLOAT
    }
    for position, node in enumerate(model.graph.node):
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] == "input_ids":
            return node, position
    return None


def _optimise(source: Path, target: Path) -> None:
    """onnxruntime's own CPU graph optimisations, done once here so that the function need not do them.

    EXTENDED, not ALL: the layout optimisations above it depend on the CPU that does them.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    weights = target.with_suffix(".data").name
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    onnxruntime.InferenceSession(
        str(source),
        options,
        providers=["CPUExecutionProvider"],
        # See _fuse: it would fuse here what was left apart there.
        disabled_optimizers=["SkipLayerNormFusion"],
    )


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """The optimizer and the quantizer advise through the root logger on things that are decided here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _half(model: ModelProto) -> None:
    """Stores large FP32 weights as FP16, and makes FP32 of them where they are used: after the lookup in a
    table, so that no more of it is read."""
    half: dict[str, str] = {}
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.ndim == 2 and value.nbytes >= _HALF_BYTES:
            half[tensor.name] = f"{tensor.name}_half"
            limit = np.finfo(np.float16).max
            small = np.clip(value, -limit, limit).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(small, half[tensor.name]))
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        after = None
        for position, name in enumerate(node.input):
            if name not in half:
                continue
            if node.op_type == "Gather" and position == 0 and name in tables:
                output = node.output[0]
                node.input[0], node.output[0] = half[name], f"{output}_half"
                after = _to_float(f"{output}_half", output)
            elif name not in done:
                nodes.append(_to_float(half[name], name))
                done.add(name)
        nodes.append(node)
        if after is not None:
            nodes.append(after)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _to_float(name: str, output: str) -> NodeProto:
    return helper.make_node("Cast", [name], [output], f"{output}_float", to=TensorProto.FLOAT)


_VNNI = ("avx_vnni", "avx512_vnni", "amx_int8")

SCHEMES: dict[str, Scheme] = {
    "int8": Scheme(
        quantize_embedding_rows,
        _int8,
        # Prepacking gains these kernels little and costs the session's opening most of its time.
        lambda arch: Quantization("int8", _INT8_BITS[arch], _INT8_SAFE_ON[arch], prepack=False),
    ),
    "int8-vnni": Scheme(
        quantize_embedding_rows,
        _int8_full,
        lambda _arch: Quantization("int8-vnni", 8, _VNNI, prepack=False),
    ),
    "int8-block": Scheme(
        quantize_embedding_rows,
        _int8_blocks,
        # These kernels unpack weights in every call if they could not do so once: four to five times slower.
        lambda arch: Quantization("int8-block", 8, _INT8_SAFE_ON[arch], prepack=True),
        attention=False,
    ),
    "int4": Scheme(
        quantize_embedding_rows,
        _int4_blocks,
        lambda arch: Quantization("int4", 4, _INT8_SAFE_ON[arch], prepack=True),
        attention=False,
    ),
    "mixed": Scheme(
        quantize_embedding_rows,
        # Without a search: see mixed_quantizer.
        _int8,
        # For the products that are finer, as in int8-block and none.
        lambda arch: Quantization("mixed", _INT8_BITS[arch], _INT8_SAFE_ON[arch], prepack=True),
    ),
    "fp16-weights": Scheme(
        _nothing,
        _keep,
        # Weights that are made FP32 in every call cannot be packed.
        lambda _arch: Quantization("fp16-weights", 16, ("generic",), prepack=False),
        finish=_half,
    ),
    "none": Scheme(
        _nothing,
        _keep,
        # FP32 kernels are much slower on weights that were not packed.
        lambda _arch: Quantization("none", 32, ("generic",), prepack=True),
    ),
}


def check_machine(scheme: str, arch: Arch, features: Sequence[str]) -> None:
    """Whether a machine with these CPU features can check a bundle of that scheme.

    Raises:
        ExportError: it cannot.
    """
    if scheme != "int8-vnni":
        return
    if arch != "x86_64":
        raise ExportError("int8-vnni is for x86_64: int8 has full 8-bit weights on arm64", code="wrong_cpu")
    if not set(_VNNI).intersection(features):
        raise ExportError(
            "int8-vnni gives right answers only on a CPU with VNNI or AMX, and this one has neither, so that "
            "the bundle could not be checked: build it on one that has, or take int8",
            code="wrong_cpu",
        )
