"""For which CPUs a bundle's answers are checked: here, on an emulated CPU, and by the range of its weights.

On AVX2 and AVX-512 without VNNI, onnxruntime multiplies unsigned activations with signed weights by
``vpmaddubsw``, which adds the products of two neighbouring input channels in 16 bits and stops at 32767.
255 * 128 is 32640: two weights of one sign that are at most 128 together cannot get there, and then every
kernel gives the same integers. (Which channels meet was measured under QEMU, for one row and many, packed
and not: 0 and 1, 2 and 3...)
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from builder.config.schema import Arch, EmulationMode
from builder.parity import fidelity
from builder.parity.answers import answers
from builder.parity.emulation import CPUS, EmulationUnavailableError, emulated_answers
from builder.quantization.thresholds import EmbeddingThresholds, RerankerThresholds, emulation_bounds
from lambda_app.bundle import ModelInfo
from lambda_app.cpu import GENERIC, cpu_features, integer_kernel

MAX_PAIR = 128
# Their second input is the weight.
_DYNAMIC = {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QAttention"}
# Others that compute with integers: nothing is proved of them.
_OTHER = {"MatMulNBits", "QGemm", "QLinearMatMul", "ConvInteger", "QLinearConv", "QMoE", "MatMulBnb4"}
# Thresholds against PyTorch that stand in between architectures.
_ALSO = {"min_emulated_cosine": "min_cosine", "max_emulated_score_difference": "max_score_difference"}

Report = dict[str, Any]


def check_instruction_sets(
    model: ModelInfo,
    arch: Arch,
    mode: EmulationMode,
    thresholds: EmbeddingThresholds | RerankerThresholds,
    environ: Mapping[str, str] = os.environ,
) -> tuple[tuple[str, ...], Report, list[str]]:
    """Checks a bundle on the instruction sets that its scheme is meant for.

    Returns:
        Those that were checked, the figures and how each was checked (for the manifest), and what is wrong.
    """
    meant = model.quantization.instruction_sets
    if not _products(onnx.load(str(model.graph_path), load_external_data=False).graph):
        return (GENERIC,), {"checked": {GENERIC: "no integer products"}}, []
    native = integer_kernel(cpu_features()) if _is_here(arch) else None
    checked: dict[str, str] = {}
    if native in meant:
        checked[native] = "native"
    failures: list[str] = []
    emulation: Report = {"skipped": "the scheme is not meant for such a CPU"}
    if mode == "off":
        emulation = {"skipped": "switched off"}
    elif CPUS[arch].instruction_set in meant:
        emulation, failures = _emulate(model, arch, mode, thresholds, environ)
        if "skipped" not in emulation and not failures:
            checked[CPUS[arch].instruction_set] = "emulated"
    if arch == "x86_64" and cannot_saturate(model):
        for name in meant:
            checked.setdefault(name, f"pairs of weights of at most {MAX_PAIR}")
    if not checked and not failures and not _is_baseline(meant):
        failures = [_for_others(meant)]
    names = tuple(name for name in meant if name in checked)
    return names, {"checked": {name: checked[name] for name in names}, "emulation": emulation}, failures


def cannot_saturate(model: ModelInfo) -> bool:
    """Returns whether no two weights that all integer products add in 16 bits can pass them."""
    graph = onnx.load(str(model.graph_path), load_external_data=False).graph
    # Small tensors lie in the graph itself.
    weights = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_location != onnx.TensorProto.EXTERNAL
    }
    data = np.memmap(model.weights_path, np.uint8, "r")
    for tensor in model.tensors:
        if tensor.dtype == "int8":
            values = data[tensor.offset : tensor.offset + tensor.bytes].view(np.int8)
            weights[tensor.name] = values.reshape(tensor.shape)
    for operator, name in _products(graph):
        codes = weights.get(name)
        if operator not in _DYNAMIC or codes is None or codes.dtype != np.int8 or codes.ndim != 2:
            return False
        if _largest_pair(codes) > MAX_PAIR:
            return False
    return True


def _largest_pair(codes: NDArray[np.int8]) -> int:
    """The largest sum of two weights of one sign that are added in 16 bits, of (channels, outputs)."""
    padded = np.pad(codes, ((0, len(codes) % 2), (0, 0))).astype(np.int16).reshape(-1, 2, codes.shape[1])
    sums = [np.maximum(side, 0).sum(axis=1).max(initial=0) for side in (padded, -padded)]
    return int(max(sums))


def _emulate(
    model: ModelInfo,
    arch: Arch,
    mode: EmulationMode,
    thresholds: EmbeddingThresholds | RerankerThresholds,
    environ: Mapping[str, str],
) -> tuple[Report, list[str]]:
    cpu = CPUS[arch]
    try:
        found = emulated_answers(model, arch, environ)
    except EmulationUnavailableError as error:
        failures = [f"the answers could not be emulated: {error}"] if mode == "require" else []
        return {"cpu": cpu.name, "skipped": str(error)}, failures
    figures = _compare(answers(model), found)
    bounds = emulation_bounds(thresholds)
    if not _is_here(arch):
        # Another architecture's kernels round elsewhere, and INT8 activations magnify that: there its answers
        # are as far from this machine's as either may be from PyTorch's.
        for name, own in _ALSO.items():
            if name in bounds:
                bounds[name] = (min if name.startswith("min_") else max)(
                    bounds[name], getattr(thresholds, own)
                )
    failures = [
        f"{one} on an emulated {cpu.name} ({cpu.instruction_set}): its answers there are not those of this "
        "machine, as where sums of 8-bit products overflow; take weights of 7 bits, or another quantization"
        for one in fidelity.missed(figures, bounds)
    ]
    return {"cpu": cpu.name, "answers": len(found), **figures}, failures


def _compare(here: NDArray[np.float32], there: NDArray[np.float32]) -> Report:
    if here.ndim == 2:
        return {"emulated_cosine": fidelity.rounded((here * there).sum(axis=1).min())}
    difference = np.abs(fidelity.sigmoid(here) - fidelity.sigmoid(there))
    return {"emulated_score_difference": fidelity.rounded(difference.max())}


def _products(graph: onnx.GraphProto) -> list[tuple[str, str]]:
    """Operator and name of the weight of every product of integers."""
    return [(node.op_type, node.input[1]) for node in graph.node if node.op_type in _DYNAMIC | _OTHER]


def _for_others(meant: tuple[str, ...]) -> str:
    return (
        f"its answers are for CPUs with {' or '.join(meant)}, and this one has "
        f"{', '.join(cpu_features()) or 'none that could be read'}: build it on one, or quantize another way"
    )


def _is_here(arch: Arch) -> bool:
    return platform.machine().lower() in {"x86_64": ("x86_64", "amd64"), "arm64": ("aarch64", "arm64")}[arch]


def _is_baseline(meant: tuple[str, ...]) -> bool:
    """Whether a scheme is meant for every CPU of its architecture, and not only for some."""
    return any(name in meant for name in ("avx2", "neon", GENERIC))
