"""INT8: one step for each output channel of the weights, and a constant one or one a token for activations.

What stands in the weights is decided here: outliers of activations are moved into them first, and they are
rounded so that the products change least. Neither costs anything at run time but a ``Mul`` in front of those
products where no exact place for the factors exists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto

from builder.errors import ConfigError
from builder.graph.export import save_model
from builder.graph.products import Product, Weights, by_input, find_products, value_source
from builder.graph.residual_bias import move_biases
from builder.quantization.activation_scale import ActivationScale, choose_scale
from builder.quantization.calibration import Activation, Batch, activations, sample
from builder.quantization.integer_nodes import Rounded, write_products
from builder.quantization.rounding import ChannelLimits, CompensatedRounding, round_to_nearest
from builder.quantization.smoothing import find_factors, insert_mul, move_into_values, smooth_name

# The share of the error of the products behind it that a Mul has to take: this for each channel of its input
# relative to the narrowest, where it takes longest; moving factors into V is free.
_WORTH_A_MUL, _WORTH_A_CHANNEL = 0.25, 0.1
# Products whose error stays above this (relative, RMS) are left in FP32, smallest first, while they make up
# no more than this share of all: FP32 takes about three times as long.
_TOO_COARSE = 0.06
_FP32_SHARE = 0.01
# By the bits of a weight. AVX2's vpmaddubsw adds the products of two neighbouring channels in 16 bits: with
# activations of at most 255, weights of one sign may be 128 together (255 * 128 = 32640).
WEIGHT_LIMITS = {7: ChannelLimits(127, pairs=128), 8: ChannelLimits(127)}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is done to products; everything, but for a table that shows what each part brings.

    ``smooth`` moves outliers into weights, ``compensate`` rounds weights for the products' sake,
    ``per_token`` decides how activations are scaled (None: by what the calibration texts show of each),
    ``move_biases`` takes biases of the residual stream off it, ``limits`` are those of weights (None: by
    their bits).
    """

    smooth: bool = True
    compensate: bool = True
    per_token: bool | None = None
    move_biases: bool = True
    limits: ChannelLimits | None = None


@dataclass(slots=True)
class Int8Result:
    """``smoothed`` is the FP32 graph that was quantized; ``scales`` are those of the products' inputs."""

    smoothed: Path
    scales: dict[str, ActivationScale] = field(default_factory=dict)


def quantize_int8(
    source: Path,
    target: Path,
    batches: Sequence[Batch],
    *,
    bits: int,
    keep_coarse: bool = False,
    recipe: Recipe = Recipe(),
    recorded: Mapping[str, ActivationScale] | None = None,
) -> Int8Result:
    """Reads the fused FP32 graph from one file and writes the quantized one to another.

    Small products that err most stay in FP32, if not ``keep_coarse``. ``recorded`` has scales that an
    earlier build chose, by tensor; others are chosen here.

    Raises:
        ConfigError: ``recorded`` has a tensor that the graph does not have, or that cannot be scaled so.
    """
    model = onnx.load(str(source))
    if recipe.move_biases and move_biases(model):
        source = source.with_name("moved.onnx")
        save_model(model, source)
        model = onnx.load(str(source))
    work = _Quantizer(model, recipe.limits or WEIGHT_LIMITS[bits], recipe, recorded or {})
    work.run(source, batches)
    smoothed = source.with_name("smoothed.onnx")
    if keep_coarse:
        copy = ModelProto()
        copy.CopyFrom(model)
        save_model(copy, smoothed)
    coarse = set() if keep_coarse else work.too_coarse()
    products = [product for product in work.products if product.name not in coarse]
    write_products(model, products, work.scales, work.rounded)
    save_model(model, target)
    inputs = {product.input for product in products}
    return Int8Result(smoothed, {name: scale for name, scale in work.scales.items() if name in inputs})


class _Quantizer:
    """Smooths a graph's products, and finds their integers, which it does not write."""

    def __init__(
        self,
        model: ModelProto,
        limits: ChannelLimits,
        recipe: Recipe,
        recorded: Mapping[str, ActivationScale],
    ) -> None:
        self._model, self._limits, self._recipe, self._recorded = model, limits, recipe, recorded
        self._weights = Weights(model)
        self._errors: dict[str, float] = {}
        self.products: list[Product] = []
        self.scales: dict[str, ActivationScale] = {}
        self.rounded: dict[str, Rounded] = {}

    def run(self, source: Path, batches: Sequence[Batch]) -> None:
        groups = by_input(find_products(self._model))
        widths = {name: group[0].rows for name, group in groups.items()}
        narrowest = min(widths.values(), default=1)
        for name, activation in activations(source, widths, batches):
            if activation.by_token:
                self._group(name, groups[name], activation, widths[name] / narrowest)
        for name in self._recorded:
            if name not in self.scales:
                raise ConfigError(f"the manifest has a scale for {name!r}, and the model no such product")
        order = {node.name: place for place, node in enumerate(self._model.graph.node)}
        self.products.sort(key=lambda product: order[product.name])

    def _group(self, name: str, group: list[Product], activation: Activation, width: float) -> None:
        factors = self._smoothed(name, group, activation, width)
        rows = activation.rows
        rows /= factors
        tensor = next(node.input[0] for node in self._model.graph.node if node.name == group[0].name)
        scale = self._recorded.get(tensor) or self._scale(rows, group)
        if scale.per_token and _fused(group):
            raise ConfigError(
                f"the manifest scales {tensor!r} by token, and its product is a fused attention"
            )
        self.scales[tensor] = scale
        quantized = scale(rows)
        rounding = CompensatedRounding(quantized) if self._recipe.compensate else None
        for product in group:
            scaled = self._weights[product.weight] * factors[:, None]
            self._weights[product.weight] = scaled
            steps = self._limits.scales(scaled)
            if rounding is None:
                codes = round_to_nearest(scaled, steps, self._limits)
            else:
                codes = rounding(scaled, steps, self._limits.bounds).astype(np.int8)
            self.rounded[product.weight] = Rounded(codes, steps)
            exact, found = sample(rows) @ scaled, sample(quantized) @ (codes * steps)
            self._errors[product.name] = float(
                np.square(exact - found).sum() / max(np.square(exact).sum(), 1e-12)
            )
            self.products.append(replace(product, input=tensor))

    def _scale(self, rows: NDArray[np.float32], group: list[Product]) -> ActivationScale:
        return choose_scale(rows, per_token=False if _fused(group) else self._recipe.per_token)

    def _smoothed(
        self, name: str, group: list[Product], activation: Activation, width: float
    ) -> NDArray[np.float32]:
        """Moves factors out of a tensor's channels, as far as that is worth it, and returns them."""
        weight = np.concatenate([self._weights[product.weight] for product in group], axis=1)
        ones = np.ones(len(weight), np.float32)
        if not self._recipe.smooth:
            return ones
        recorded = [one in self._recorded for one in (name, smooth_name(name))]
        factors = find_factors(activation, weight, self._limits.largest)
        values = value_source(self._model, group)
        if values is None and any(recorded):
            worth = recorded[1]
        else:
            some = activation.sample()
            plain = self._error(some, weight, group, ones)
            smooth = self._error(some, weight, group, factors)
            worth = smooth <= plain * (1 if values is not None else 1 - _worth(width))
        if not worth:
            return ones
        if values is not None:
            move_into_values(self._weights, values, factors, self.rounded)
        else:
            insert_mul(self._model, name, group, factors)
        return factors

    def _error(
        self,
        some: Activation,
        weight: NDArray[np.float32],
        group: list[Product],
        factors: NDArray[np.float32],
    ) -> float:
        """Squared error of a group's products with plain rounding."""
        rows, scaled = some.rows / factors, weight * factors[:, None]
        steps = self._limits.scales(scaled)
        codes = round_to_nearest(scaled, steps, self._limits)
        found = self._scale(rows, group)(rows) @ (codes * steps)
        return float(np.square(some.rows @ weight - found).sum())

    def too_coarse(self) -> set[str]:
        """Returns the names of the products that should stay in FP32."""
        budget = _FP32_SHARE * sum(product.size for product in self.products)
        chosen = set()
        for product in sorted(self.products, key=lambda product: product.size):
            if self._errors[product.name] > _TOO_COARSE**2 and product.size <= budget:
                chosen.add(product.name)
                budget -= product.size
        return chosen


def _fused(group: list[Product]) -> bool:
    """Whether a product is the fused attention, which takes one step for all of its input."""
    return any(product.operator == "Attention" for product in group)


def _worth(width: float) -> float:
    return min(0.9, _WORTH_A_MUL + _WORTH_A_CHANNEL * width)
