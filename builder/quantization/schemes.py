"""The quantization schemes: how each treats weights, and what the manifest says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from onnx import ModelProto

from builder.config.schema import Arch, Mixed
from builder.errors import ExportError
from builder.quantization.activation_scale import ActivationScale
from builder.quantization.blocks import quantize_blocks
from builder.quantization.calibration import Batch
from builder.quantization.embedding_table import quantize_embedding_rows
from builder.quantization.half import store_half
from builder.quantization.int8 import quantize_int8
from builder.quantization.mixed import Fidelity, MixedQuantizer
from lambda_app.bundle import Quantization

# Seven bits on x86-64, for two neighbouring weights together: the products of 8-bit activations and them fit
# 16 bits (255 * 128 = 32640), in which AVX2's vpmaddubsw adds them: the same answers with and without VNNI.
# Arm has no such step.
_INT8_BITS: dict[Arch, int] = {"x86_64": 7, "arm64": 8}
_INT8_SAFE_ON: dict[Arch, tuple[str, ...]] = {
    "x86_64": ("avx2", "avx512", "avx_vnni", "avx512_vnni"),
    "arm64": ("neon", "dotprod", "i8mm"),
}
_VNNI = ("avx_vnni", "avx512_vnni", "amx_int8")


Scales: TypeAlias = "dict[str, ActivationScale]"
# What an earlier build chose.
Recorded: TypeAlias = "Mapping[str, ActivationScale]"


@dataclass(frozen=True, slots=True)
class Scheme:
    """What a scheme does at each stage.

    Attributes:
        prepare: Changes the exported graph, given its number of word embeddings.
        quantize: Reads the fused graph from one file and writes the quantized one to another; may use what
            the calibration texts do to it. Returns the scales of activations, by tensor, where it sets any;
            takes those that an earlier build chose.
        describe: Returns the manifest's description.
        attention: Whether attention and its projections become one node; otherwise they stay apart.
        finish: Changes the optimised graph.
    """

    prepare: Callable[[ModelProto, int], None]
    quantize: Callable[[Path, Path, Arch, Sequence[Batch], Recorded], Scales]
    describe: Callable[[Arch], Quantization]
    attention: bool = True
    finish: Callable[[ModelProto], None] = lambda _model: None


def describe(scheme: str, arch: Arch) -> Quantization:
    """Returns the manifest's description of a scheme on an architecture."""
    return SCHEMES[scheme].describe(arch)


def mixed_quantizer(mixed: Mixed, task: str, arch: Arch, note: Callable[[str], None]) -> MixedQuantizer:
    """Returns the quantizer of a model in the scheme ``mixed``."""
    asked = Fidelity(mixed.min_fidelity, mixed.min_top10_overlap)
    return MixedQuantizer(asked, _INT8_BITS[arch], mixed.assignments.get(task), note)


def _int8(source: Path, target: Path, arch: Arch, batches: Sequence[Batch], recorded: Recorded) -> Scales:
    return quantize_int8(source, target, batches, bits=_INT8_BITS[arch], recorded=recorded).scales


def _int8_full(
    source: Path, target: Path, _arch: Arch, batches: Sequence[Batch], recorded: Recorded
) -> Scales:
    return quantize_int8(source, target, batches, bits=8, recorded=recorded).scales


def _int8_blocks(
    source: Path, target: Path, _arch: Arch, batches: Sequence[Batch], _recorded: Recorded
) -> Scales:
    quantize_blocks(source, target, batches, bits=8)
    return {}


def _int4_blocks(
    source: Path, target: Path, _arch: Arch, batches: Sequence[Batch], _recorded: Recorded
) -> Scales:
    quantize_blocks(source, target, batches, bits=4)
    return {}


def _keep(source: Path, target: Path, _arch: Arch, _batches: Sequence[Batch], _recorded: Recorded) -> Scales:
    """Leaves FP32 as it is. The weights' file is named in the graph, so it stays where it is."""
    source.rename(target)
    return {}


def _nothing(_model: ModelProto, _vocabulary: int) -> None:
    """Changes nothing: FP32 keeps its word embeddings."""


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
        finish=store_half,
    ),
    "none": Scheme(
        _nothing,
        _keep,
        # FP32 kernels are much slower on weights that were not packed.
        lambda _arch: Quantization("none", 32, ("generic",), prepack=True),
    ),
}


def check_machine(scheme: str, arch: Arch, features: Sequence[str]) -> None:
    """Checks that a machine with these CPU features can check a bundle of that scheme.

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
