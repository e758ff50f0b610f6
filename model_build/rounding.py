"""Weights to integers so that the errors of the product, not of the weights, are small."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.01
_BLOCK = 128


def channel_scales(weight: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """One step per output channel, symmetric: the largest weight becomes ``levels``."""
    scales: NDArray[np.float32] = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32) / levels
    return scales


def round_to_nearest(
    weight: NDArray[np.float32], scales: NDArray[np.float32], levels: int
) -> NDArray[np.int8]:
    """Codes of (channels, outputs) weights."""
    codes: NDArray[np.int8] = np.clip(np.rint(weight / scales), -levels, levels).astype(np.int8)
    return codes


class CompensatedRounding:
    """Rounds channel by channel, and spreads each error over the channels that are not rounded yet, so that
    the outputs on ``rows`` change least (GPTQ, arXiv:2210.17323; large channels first)."""

    def __init__(self, rows: NDArray[np.float32]) -> None:
        hessian = (rows.T @ rows).astype(np.float64)
        diagonal = np.diag(hessian)
        self._order = np.argsort(-diagonal, kind="stable")
        hessian[np.diag_indices_from(hessian)] += _DAMPING * float(diagonal.mean()) + 1e-9
        inverse = np.linalg.inv(hessian[self._order][:, self._order])
        self._upper = np.linalg.cholesky(inverse).T

    def __call__(
        self, weight: NDArray[np.float32], scales: NDArray[np.float32], levels: int
    ) -> NDArray[np.int8]:
        """Codes of (channels, outputs) weights."""
        left = weight[self._order].astype(np.float64)
        upper, steps = self._upper, scales.astype(np.float64)
        codes = np.empty(left.shape, np.int8)
        for start in range(0, len(left), _BLOCK):
            end = min(start + _BLOCK, len(left))
            errors = np.empty((end - start, left.shape[1]))
            for row in range(start, end):
                code = np.clip(np.rint(left[row] / steps), -levels, levels)
                codes[row] = code
                error = (left[row] - code * steps) / upper[row, row]
                errors[row - start] = error
                left[row + 1 : end] -= np.outer(upper[row, row + 1 : end], error)
            left[end:] -= upper[start:end, end:].T @ errors
        result = np.empty_like(codes)
        result[self._order] = codes
        return result
