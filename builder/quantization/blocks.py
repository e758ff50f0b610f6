"""Weights in blocks: 8 or 4 bits with one step per 32 weights, as onnxruntime's MatMulNBits reads them.

Activations become INT8 in the same blocks (accuracy level 4), so an outlier spoils 32 values and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

from builder.graph.export import save_model
from builder.graph.products import Product, Weights, by_input, find_products
from builder.quantization.calibration import Batch, activations
from builder.quantization.rounding import BlockGrid, CompensatedRounding

BLOCK = 32
_ACCURACY_INT8 = 4
# Of all weights of an int4 model, the share that may stay at 8 bits: those of the products that err most.
_SENSITIVE_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class BlockWeights:
    """``codes`` are (channels, outputs); ``error`` is the product's squared error, relative."""

    grid: BlockGrid
    codes: NDArray[np.uint8]
    error: float


def quantize_blocks(source: Path, target: Path, batches: Sequence[Batch], *, bits: int) -> None:
    """Reads the fused FP32 graph from one file and writes the quantized one to another.

    With 4 bits each product gets the better of symmetric and asymmetric blocks, and the products that would
    err most keep 8.
    """
    model = onnx.load(str(source))
    replace_with_blocks(model, find_products(model, ("MatMul",)), source, batches, bits=bits)
    save_model(model, target)


def replace_with_blocks(
    model: ModelProto, products: list[Product], source: Path, batches: Sequence[Batch], *, bits: int
) -> None:
    """Changes some products (MatMul) of a graph that was read from ``source``."""
    chosen: dict[str, BlockWeights] = {}
    finer: dict[str, BlockWeights] = {}
    groups = by_input(products)
    weights = Weights(model)
    widths = {name: group[0].rows for name, group in groups.items()}
    for name, activation in activations(source, widths, batches):
        rounding = CompensatedRounding(activation.rows, ordered=False)
        sample = activation.sample().rows
        for product in groups[name]:
            weight = weights[product.weight]
            finer[product.name] = _round(rounding, weight, sample, 8, symmetric=True)
            if bits == 8:
                chosen[product.name] = finer[product.name]
                continue
            kinds = (_round(rounding, weight, sample, bits, symmetric=kind) for kind in (True, False))
            chosen[product.name] = min(kinds, key=lambda one: one.error)
    if bits < 8:
        for name in _sensitive(products, chosen):
            chosen[name] = finer[name]
    _write(model, products, chosen)


def _round(
    rounding: CompensatedRounding,
    weight: NDArray[np.float32],
    rows: NDArray[np.float32],
    bits: int,
    *,
    symmetric: bool,
) -> BlockWeights:
    grid = BlockGrid.of(weight, bits, BLOCK, symmetric=symmetric)
    zeros = grid.zeros_by_row()
    codes = rounding(
        weight,
        grid.scales_by_row(),
        lambda channel, _neighbour: (-zeros[channel], grid.max_code - zeros[channel]),
    )
    exact = rows @ weight
    found = rows @ (codes * grid.scales_by_row())
    error = float(np.square(exact - found).sum() / max(np.square(exact).sum(), 1e-12))
    return BlockWeights(grid, (codes + zeros).astype(np.uint8), error)


def _sensitive(products: list[Product], chosen: dict[str, BlockWeights]) -> list[str]:
    budget = _SENSITIVE_SHARE * sum(product.size for product in products)
    names = []
    for product in sorted(products, key=lambda product: -chosen[product.name].error):
        if product.size <= budget:
            names.append(product.name)
            budget -= product.size
    return names


def _write(model: ModelProto, products: list[Product], chosen: dict[str, BlockWeights]) -> None:
    """Puts MatMulNBits nodes in the place of MatMul."""
    by_name = {product.name: product for product in products}
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for position, node in enumerate(model.graph.node):
        product = by_name.get(node.name)
        if product is None:
            continue
        value = chosen[product.name]
        base = product.weight
        grid = value.grid
        parts = {
            f"{base}_blocks": grid.packed(value.codes),
            f"{base}_scales": np.ascontiguousarray(grid.scales.T),
        }
        if not grid.symmetric:
            parts[f"{base}_zeros"] = grid.packed_zeros()
        model.graph.initializer.remove(tensors[base])
        model.graph.initializer.extend(numpy_helper.from_array(part, name) for name, part in parts.items())
        replacement = helper.make_node(
            "MatMulNBits",
            [product.input, *parts],
            list(node.output),
            node.name,
            domain="com.microsoft",
            K=product.rows,
            N=product.columns,
            bits=grid.bits,
            block_size=grid.block,
            accuracy_level=_ACCURACY_INT8,
        )
        model.graph.node[position].CopyFrom(replacement)
