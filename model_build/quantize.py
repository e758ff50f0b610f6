"""The FP32 graph to the one that ships: fused, quantized, optimised, so that the function opens it as it is.

Fusion and quantization are onnxruntime's; the word-embedding table is done here, because one scale for the
whole table (all that the library offers for Gather) is too coarse. Schemes are entries of :data:`SCHEMES`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from lambda_app.bundle import Quantization
from model_build.config import Arch
from model_build.errors import ExportError

# Seven bits on x86-64: two products of an 8-bit activation and a weight (255 * 64 * 2 = 32640) fit 16 bits,
# in which AVX2's vpmaddubsw adds them: the same answers with and without VNNI. Arm has no such step.
_INT8_BITS: dict[Arch, int] = {"x86_64": 7, "arm64": 8}
_INT8_SAFE_ON: dict[Arch, tuple[str, ...]] = {
    "x86_64": ("avx2", "avx512", "avx_vnni", "avx512_vnni"),
    "arm64": ("neon", "dotprod", "i8mm"),
}
_FUSED_DOMAIN = "com.microsoft"


@dataclass(frozen=True, slots=True)
class Scheme:
    """``apply`` takes the fused graph, its number of word embeddings, the target and a scratch directory, and
    returns the quantized graph; ``describe`` is what the manifest says of it."""

    apply: Callable[[ModelProto, int, Arch, Path], ModelProto]
    describe: Callable[[Arch], Quantization]


def quantize_model(
    model: ModelProto, scheme: str, arch: Arch, *, heads: int, hidden_size: int, vocabulary: int, work: Path
) -> ModelProto:
    """Fuses, quantizes and optimises a graph for CPU. Inputs and outputs stay as they are.

    Raises:
        ExportError: onnxruntime cannot optimise or quantize the graph.
    """
    with _quiet_logging():
        try:
            fused = _fuse(model, heads=heads, hidden_size=hidden_size, work=work)
            quantized = SCHEMES[scheme].apply(fused, vocabulary, arch, work)
            return _optimise(quantized, work)
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ExportError(f"onnxruntime cannot quantize the graph ({scheme}): {reason}") from error


def describe(scheme: str, arch: Arch) -> Quantization:
    """What the manifest says of a scheme on an architecture."""
    return SCHEMES[scheme].describe(arch)


def _fuse(model: ModelProto, *, heads: int, hidden_size: int, work: Path) -> ModelProto:
    """Attention, GELU and layer-norm fusions where the architecture's graph has them, else nothing.

    Attention as one node (not MultiHeadAttention): same speed, a third less to load. EmbedLayerNormalization
    stays unfused, because it would read the word-embedding table in FP32.
    """
    path = work / "exported.onnx"
    _save(model, path)
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    fused = optimize_model(
        str(path),
        model_type="bert",
        num_heads=heads,
        hidden_size=hidden_size,
        optimization_options=options,
        opt_level=0,
    ).model
    fused.graph.name = "model"
    if not any(entry.domain == _FUSED_DOMAIN for entry in fused.opset_import):
        fused.opset_import.append(helper.make_opsetid(_FUSED_DOMAIN, 1))
    return fused


def _int8(model: ModelProto, vocabulary: int, arch: Arch, work: Path) -> ModelProto:
    """Dynamic INT8: weights symmetric per output channel, activations per tensor at run time.

    Gemm (a cross-encoder's head, one row per text) stays in FP32: nothing to gain there, and scores to lose.
    """
    quantize_embedding_rows(model, vocabulary)
    source, target = work / "fused.onnx", work / "quantized.onnx"
    _save(model, source)
    quantize_dynamic(
        source,
        target,
        per_channel=True,
        reduce_range=_INT8_BITS[arch] == 7,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["MatMul", "Attention"],
        # Where shape inference gives no type (after a fused Attention) tensors are floats.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
    return onnx.load(str(target))


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


def _optimise(model: ModelProto, work: Path) -> ModelProto:
    """onnxruntime's own CPU graph optimisations, done once here so that the function need not do them.

    EXTENDED, not ALL: the layout optimisations above it depend on the CPU that does them.
    """
    source, target = work / "quantized_input.onnx", work / "optimised.onnx"
    _save(model, source)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_file_name", "optimised.bin"
    )
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    onnxruntime.InferenceSession(str(source), options, providers=["CPUExecutionProvider"])
    return onnx.load(str(target))


def _save(model: ModelProto, path: Path) -> None:
    """Weights go beside the graph (protobuf ends at 2 GB); onnx takes them out of the model, hence the reload."""
    data = path.with_suffix(".data").name
    path.with_name(data).unlink(missing_ok=True)
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=data,
        size_threshold=1024,
    )
    onnx.load_external_data_for_model(model, str(path.parent))


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """The optimizer and the quantizer advise through the root logger on things that are decided here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _unquantized(model: ModelProto, _vocabulary: int, _arch: Arch, _work: Path) -> ModelProto:
    return model


SCHEMES: dict[str, Scheme] = {
    "int8": Scheme(
        _int8,
        # Prepacking gains these kernels little and costs the session's opening most of its time.
        lambda arch: Quantization("int8", _INT8_BITS[arch], _INT8_SAFE_ON[arch], prepack=False),
    ),
    # FP32 kernels are much slower on weights that were not packed.
    "none": Scheme(_unquantized, lambda arch: Quantization("none", 32, ("generic",), prepack=True)),
}
