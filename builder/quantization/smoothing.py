"""Per-channel factors that move outliers of activations into the weights, where they cost less.

``x @ W`` is ``(x / s) @ (s * W)``. Activations are quantized with one step for the whole tensor, weights with
one per output channel: a channel of ``x`` that is a hundred times the others makes its step coarse for all
of them, and in ``W`` it is one row among hundreds. SmoothQuant (arXiv:2211.10438) takes ``s`` from a formula
with one exponent; here it is found channel by channel, where the errors of both steps are least together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from builder.graph.products import Product, Weights
from builder.quantization.calibration import Activation
from builder.quantization.integer_nodes import Rounded

ACTIVATION_STEPS = 255
_ROUNDS = 120
_RATE = 0.05
# Stands in for the maximum, which has a gradient in one channel only.
_NORM = 24
_COLUMNS = 128
# A weight below this share of the largest of its output does not decide the output's step.
_NEGLIGIBLE = 0.05
# Rounding that compensates its own errors (rounding.py) makes those of the weights count about half.
_WEIGHT_SHARE = 0.5


def find_factors(activation: Activation, weight: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Returns ``s`` for an activation and the weights (channels, outputs) that read it.

    Weights get ``levels`` integers on either side of zero. The result is (channels,), with a geometric mean
    of 1.
    """
    columns = np.abs(weight[:, :: max(1, weight.shape[1] // _COLUMNS)])
    rows = activation.rows
    peak = np.maximum(np.maximum(rows.max(axis=0), -rows.min(axis=0)), 1e-4).astype(np.float64)
    power = np.maximum(np.einsum("tc,tc->c", rows, rows) / len(rows), 1e-9).astype(np.float64)
    # SmoothQuant's formula is where the descent (Adam) starts.
    start = 0.65 * np.log(peak) - 0.35 * np.log(np.maximum(columns.max(axis=1) / columns.max(), 1e-6))
    start -= start.mean()
    error = _Error(peak, power, columns * np.exp(start).astype(np.float32)[:, None], start, levels)
    logarithm = start
    first, second = np.zeros_like(logarithm), np.zeros_like(logarithm)
    for step in range(1, _ROUNDS + 1):
        gradient = error.gradient(logarithm)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        direction = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        logarithm = logarithm - _RATE * direction
    factors: NDArray[np.float32] = np.exp(logarithm - logarithm.mean()).astype(np.float32)
    return factors


class _Error:
    """The expected squared error of a product, by the logarithms of factors.

    Rounding to steps of ``d`` errs by ``d * d / 12`` on average. The step of the activations follows their
    largest channel, that of an output the largest of its weights.
    """

    def __init__(
        self,
        peak: NDArray[np.float64],
        power: NDArray[np.float64],
        started: NDArray[np.float32],
        start: NDArray[np.float64],
        levels: int,
    ) -> None:
        """Takes channels' largest values and mean squares, and weights as they are at ``start``."""
        self._peak, self._power, self._start, self._levels = peak, power, start, levels
        self._energy = np.square(started).sum(axis=1) * np.exp(-2 * start) + 1e-12
        self._largest = started.max(axis=0).astype(np.float64) + 1e-30
        # float32 holds such powers of what is not far from each output's largest weight; the rest has no say.
        shares = started / self._largest.astype(np.float32)
        self._shares = np.where(shares > _NEGLIGIBLE, shares, 0) ** np.float32(_NORM)

    def gradient(self, logarithm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns the gradient of the error's logarithm, (channels,)."""
        factors = np.exp(logarithm)
        shares = (self._peak / factors) ** _NORM
        reach = 2 * shares.sum() ** (1 / _NORM)
        carried = self._energy * factors**2
        of_activations = (reach / ACTIVATION_STEPS) ** 2 * carried.sum()
        by_activations = of_activations * 2 * (carried / carried.sum() - shares / shares.sum())
        moved = _NORM * (logarithm - self._start)
        scale = moved.max()
        raised = np.exp(moved - scale)
        # Not BLAS: it would wake its threads for each of many products that are this small.
        sums = np.einsum("c,co->o", raised.astype(np.float32), self._shares) + np.float32(1e-30)
        steps = (self._largest * np.exp(scale / _NORM) * sums ** (1 / _NORM) / self._levels) ** 2
        left = self._power / factors**2
        by_output = np.einsum("co,o->c", self._shares, (steps / sums).astype(np.float32))
        by_weights = 2 * (left.sum() * raised * by_output - steps.sum() * left)
        of_weights = steps.sum() * left.sum()
        total = of_activations + _WEIGHT_SHARE * of_weights
        gradient: NDArray[np.float64] = (by_activations + _WEIGHT_SHARE * by_weights) / total
        return gradient


def smooth_name(tensor: str) -> str:
    """Returns the name of a tensor behind its Mul."""
    return f"{tensor}_smooth"


def move_into_values(
    weights: Weights, node: NodeProto, factors: NDArray[np.float32], rounded: Mapping[str, Rounded]
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


def insert_mul(model: ModelProto, tensor: str, group: list[Product], factors: NDArray[np.float32]) -> None:
    """Divides the input of a group's products, and of nothing else."""
    names = {product.name for product in group}
    smooth = smooth_name(tensor)
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
