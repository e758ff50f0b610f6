"""Dynamic INT8: weights with one step per output channel, activations with one per tensor at run time.

onnxruntime's ``quantize_dynamic`` writes the nodes. What stands in the weights is decided here: outliers of
activations are moved into them first, and they are rounded so that the products change least. Neither costs
anything at run time but a ``Mul`` in front of those products where no exact place for the factors exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from builder.errors import ExportError
from builder.graph.export import save_model
from builder.graph.products import Product, Weights, by_input, find_products, value_source
from builder.quantization.calibration import Activation, Batch, activations
from builder.quantization.rounding import CompensatedRounding, channel_scales, round_to_nearest
from builder.quantization.smoothing import find_factors, quantize_activation

# The share of the error of the products behind it that a Mul has to take: this for each channel of its input
# relative to the narrowest, where it takes longest; moving factors into V is free.
_WORTH_A_MUL, _WORTH_A_CHANNEL = 0.25, 0.1
# Products whose error stays above this (relative, RMS) are left in FP32, smallest first, while they make up
# no more than this share of all: FP32 takes about three times as long.
_TOO_COARSE = 0.06
_FP32_SHARE = 0.01
# Errors are estimated on one row in so many.
_THINNED = 4


@dataclass(frozen=True, slots=True)
class Rounded:
    """A product's weights as integers, and the step of each output channel."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]


def quantize_int8(
    source: Path,
    target: Path,
    batches: Sequence[Batch],
    *,
    bits: int,
    exclude: Sequence[str] = (),
    keep_coarse: bool = False,
) -> Path:
    """Reads the fused FP32 graph from one file and writes the quantized one to another.

    Products named in ``exclude`` stay in FP32, and so do small ones that err most, if not ``keep_coarse``.
    Returns the smoothed FP32 graph that was quantized.
    """
    model = onnx.load(str(source))
    levels = 64 if bits == 7 else 127
    products = [product for product in find_products(model) if product.name not in exclude]
    rounded, kept = _prepare(model, products, source, batches, levels)
    if keep_coarse:
        kept = set()
    smoothed = source.with_name("smoothed.onnx")
    save_model(model, smoothed)
    del model
    quantize_dynamic(
        smoothed,
        target,
        per_channel=True,
        reduce_range=bits == 7,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=sorted({product.operator for product in products}) or ["MatMul"],
        nodes_to_quantize=[product.name for product in products if product.name not in kept],
        nodes_to_exclude=[*exclude, *kept],
        use_external_data_format=True,
        # Where shape inference gives no type (after a fused Attention) tensors are floats.
        extra_options={"DefaultTensorType": TensorProto.FLOAT},
    )
    left = {product.weight for product in products if product.name in kept}
    _write_weights(target, {name: value for name, value in rounded.items() if name not in left})
    return smoothed


def _prepare(
    model: ModelProto, products: list[Product], source: Path, batches: Sequence[Batch], levels: int
) -> tuple[dict[str, Rounded], set[str]]:
    """Smooths the graph. Gives integers by weight, and the names of those that should stay in FP32."""
    groups = by_input(products)
    weights = Weights(model)
    rounded: dict[str, Rounded] = {}
    errors: dict[str, float] = {}
    widths = {name: group[0].rows for name, group in groups.items()}
    for name, activation in activations(source, widths, batches):
        group = groups[name]
        factors = find_factors(activation, _side_by_side(weights, group), levels)
        values = value_source(model, group)
        sample = activation.thinned(_THINNED)
        plain = _error(sample, weights, group, np.ones_like(factors), levels)
        smooth = _error(sample, weights, group, factors, levels)
        if smooth > plain * (1 if values is not None else 1 - _worth(widths[name] / min(widths.values()))):
            factors = np.ones_like(factors)
        elif values is not None:
            _move_into_values(weights, values, factors, rounded)
        else:
            _insert_mul(model, name, group, factors)
        quantized = quantize_activation(activation, factors)
        rounding = CompensatedRounding(quantized)
        for product in group:
            scaled = weights[product.weight] * factors[:, None]
            weights[product.weight] = scaled
            scales = channel_scales(scaled, levels)
            codes = rounding(scaled, scales, -levels, levels).astype(np.int8)
            rounded[product.weight] = Rounded(codes, scales)
            exact = (sample.rows / factors) @ scaled
            found = quantized[::_THINNED] @ (codes * scales)
            errors[product.name] = float(np.square(exact - found).sum() / max(np.square(exact).sum(), 1e-12))
    return rounded, _too_coarse(products, errors)


def _worth(width: float) -> float:
    return min(0.9, _WORTH_A_MUL + _WORTH_A_CHANNEL * width)


def _too_coarse(products: list[Product], errors: dict[str, float]) -> set[str]:
    budget = _FP32_SHARE * sum(product.size for product in products)
    chosen = set()
    for product in sorted(products, key=lambda product: product.size):
        if errors[product.name] > _TOO_COARSE**2 and product.size <= budget:
            chosen.add(product.name)
            budget -= product.size
    return chosen


def _side_by_side(weights: Weights, group: list[Product]) -> NDArray[np.float32]:
    return np.concatenate([weights[product.weight] for product in group], axis=1)


def _error(
    activation: Activation,
    weights: Weights,
    group: list[Product],
    factors: NDArray[np.float32],
    levels: int,
) -> float:
    """Squared error of a group's products with plain rounding."""
    weight = _side_by_side(weights, group)
    scaled = weight * factors[:, None]
    scales = channel_scales(scaled, levels)
    found = quantize_activation(activation, factors) @ (round_to_nearest(scaled, scales, levels) * scales)
    return float(np.square(activation.rows @ weight - found).sum())


def _move_into_values(
    weights: Weights, node: NodeProto, factors: NDArray[np.float32], rounded: dict[str, Rounded]
) -> None:
    """Divides V's columns of an Attention, and their steps where the weights are integers already."""
    count = len(factors)
    for name in (node.input[1], node.input[2]):
        value = weights[name].copy()
        value[..., -count:] /= factors
        weights[name] = value
    done = rounded.get(node.input[1])
    if done is not None:
        done.scales[-count:] /= factors


def _insert_mul(model: ModelProto, tensor: str, group: list[Product], factors: NDArray[np.float32]) -> None:
    """Divides the input of a group's products, and of nothing else."""
    names = {product.name for product in group}
    smooth = f"{tensor}_smooth"
    model.graph.initializer.append(
        numpy_helper.from_array((1 / factors).astype(np.float32), f"{smooth}_factors")
    )
    position = next(index for index, node in enumerate(model.graph.node) if node.name in names)
    for node in model.graph.node:
        if node.name in names:
            node.input[0] = smooth
    model.graph.node.insert(
        position, helper.make_node("Mul", [tensor, f"{smooth}_factors"], [smooth], smooth)
    )


def _write_weights(target: Path, rounded: dict[str, Rounded]) -> None:
    """Puts our integers in the place of those that the library rounded."""
    model = onnx.load(str(target))
    weights = Weights(model)
    for name, value in rounded.items():
        codes, scales = f"{name}_quantized", f"{name}_scale"
        if codes not in weights or scales not in weights:
            raise ExportError(f"onnxruntime did not quantize {name}")
        weights[codes] = value.codes
        weights[scales] = value.scales
    save_model(model, target)
