"""Per-channel factors that move outliers of activations into the weights, where they cost less.

``x @ W`` is ``(x / s) @ (s * W)``. Activations are quantized with one step for the whole tensor, weights with
one per output channel: a channel of ``x`` that is a hundred times the others makes its step coarse for all
of them, and in ``W`` it is one row among hundreds. SmoothQuant (arXiv:2211.10438) takes ``s`` from a formula
with one exponent; here it is found channel by channel, where the errors of both steps are least together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.quantization.calibration import Activation

ACTIVATION_STEPS = 255
_ROUNDS = 160
_RATE = 0.04
# Stands in for the maximum, which has a gradient in one channel only.
_NORM = 24
_COLUMNS = 256
# Rounding that compensates its own errors (rounding.py) makes those of the weights count about half.
_WEIGHT_SHARE = 0.5


def find_factors(activation: Activation, weight: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Returns ``s`` for an activation and the weights (channels, outputs) that read it.

    Weights get ``levels`` integers on either side of zero. The result is (channels,), with a geometric mean
    of 1.
    """
    columns = np.abs(weight[:, :: max(1, weight.shape[1] // _COLUMNS)]).astype(np.float64)
    columns /= columns.max() + 1e-30
    peak = np.maximum(np.abs(activation.rows).max(axis=0), 1e-4).astype(np.float64)
    power = np.maximum(np.square(activation.rows).mean(axis=0), 1e-9).astype(np.float64)
    energy = np.square(columns).sum(axis=1) + 1e-12
    high_power = columns**_NORM
    # SmoothQuant's formula is where the descent (Adam) starts.
    start = 0.65 * np.log(peak) - 0.35 * np.log(np.maximum(columns.max(axis=1), 1e-6))
    logarithm = start - start.mean()
    first, second = np.zeros_like(logarithm), np.zeros_like(logarithm)
    for step in range(1, _ROUNDS + 1):
        gradient = _gradient(np.exp(logarithm), peak, power, energy, high_power, levels)
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        direction = first / (1 - 0.9**step) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
        logarithm -= _RATE * direction
    factors: NDArray[np.float32] = np.exp(logarithm - logarithm.mean()).astype(np.float32)
    return factors


def _gradient(
    factors: NDArray[np.float64],
    peak: NDArray[np.float64],
    power: NDArray[np.float64],
    energy: NDArray[np.float64],
    high_power: NDArray[np.float64],
    levels: int,
) -> NDArray[np.float64]:
    """Of the logarithm of the expected squared error, by the logarithm of each factor.

    Rounding to steps of ``d`` errs by ``d * d / 12`` on average. The step of the activations follows their
    largest channel, that of an output the largest of its weights.
    """
    shares = (peak / factors) ** _NORM
    reach = 2 * shares.sum() ** (1 / _NORM)
    carried = energy * factors**2
    of_activations = (reach / ACTIVATION_STEPS) ** 2 * carried.sum()
    by_activations = of_activations * 2 * (carried / carried.sum() - shares / shares.sum())
    raised = factors**_NORM
    sums = raised @ high_power + 1e-300
    steps = (sums ** (1 / _NORM) / levels) ** 2
    left = power / factors**2
    by_weights = 2 * (left.sum() * raised * (high_power @ (steps / sums)) - steps.sum() * left)
    of_weights = steps.sum() * left.sum()
    total = of_activations + _WEIGHT_SHARE * of_weights
    gradient: NDArray[np.float64] = (by_activations + _WEIGHT_SHARE * by_weights) / total
    return gradient
