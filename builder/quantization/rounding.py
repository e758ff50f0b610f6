"""Weights to integers so that the errors of the product, not of the weights, are small."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAMPING = 0.01
_BLOCK = 128


def channel_scales(weight: NDArray[np.float32], levels: int) -> NDArray[np.float32]:
    """Returns one step for each output channel, symmetric: the largest weight becomes ``levels``."""
    scales: NDArray[np.float32] = np.maximum(np.abs(weight).max(axis=0), 1e-12).astype(np.float32) / levels
    return scales


def round_to_nearest(
    weight: NDArray[np.float32], scales: NDArray[np.float32], levels: int
) -> NDArray[np.int8]:
    """Returns codes of (channels, outputs) weights."""
    codes: NDArray[np.int8] = np.clip(np.rint(weight / scales), -levels, levels).astype(np.int8)
    return codes


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """Steps and zero points of (channels, outputs) weights, one for each ``block`` channels of an output.

    Both are (blocks, outputs). Codes run from 0 to ``max_code``; a weight is ``(code - zero) * scale``.
    """

    bits: int
    block: int
    channels: int
    symmetric: bool
    scales: NDArray[np.float32]
    zeros: NDArray[np.int16]

    @classmethod
    def of(cls, weight: NDArray[np.float32], bits: int, block: int, *, symmetric: bool) -> BlockGrid:
        """Returns the grid that holds the largest weights of each block."""
        channels, outputs = weight.shape
        padded = np.zeros((-(-channels // block) * block, outputs), np.float32)
        padded[:channels] = weight
        parts = padded.reshape(-1, block, outputs)
        largest, middle = 2**bits - 1, 2 ** (bits - 1)
        low, high = np.minimum(parts.min(axis=1), 0), np.maximum(parts.max(axis=1), 0)
        if symmetric:
            # The side that has one code more gets the larger weight.
            far = np.where(-low >= high, low, -high)
            scales = np.maximum(-far, 1e-12) / middle * np.where(-low >= high, 1, -1)
            zeros = np.full(scales.shape, middle, np.int16)
        else:
            scales = np.maximum(high - low, 1e-12) / largest
            zeros = np.clip(np.rint(-low / scales), 0, largest).astype(np.int16)
        return cls(bits, block, channels, symmetric, scales.astype(np.float32), zeros)

    @property
    def max_code(self) -> int:
        """The largest code."""
        return (1 << self.bits) - 1

    def scales_by_row(self) -> NDArray[np.float32]:
        """Returns the step of every weight, (channels, outputs)."""
        return np.repeat(self.scales, self.block, axis=0)[: self.channels]

    def zeros_by_row(self) -> NDArray[np.int16]:
        """Returns the zero point of every weight, (channels, outputs)."""
        return np.repeat(self.zeros, self.block, axis=0)[: self.channels]

    def packed(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Returns codes as MatMulNBits reads them, (outputs, blocks, bytes of a block)."""
        blocks, outputs = self.scales.shape
        padded = np.repeat(self.zeros, self.block, axis=0).astype(np.uint8)
        padded[: self.channels] = codes
        return self._nibbles(padded.T.reshape(outputs, blocks, self.block))

    def packed_zeros(self) -> NDArray[np.uint8]:
        """Returns zero points as MatMulNBits reads them, (outputs, bytes of all its blocks' zero points)."""
        zeros = self.zeros.T.astype(np.uint8)
        if self.bits == 4 and zeros.shape[1] % 2:
            zeros = np.pad(zeros, ((0, 0), (0, 1)))
        return self._nibbles(zeros)

    def _nibbles(self, codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.bits == 8:
            return np.ascontiguousarray(codes)
        return np.ascontiguousarray(codes[..., 0::2] | codes[..., 1::2] << 4)


class CompensatedRounding:
    """Rounds channel by channel so that the outputs on ``rows`` change least (GPTQ, arXiv:2210.17323).

    Each error is spread over the channels that are not rounded yet. ``ordered``: large channels first.
    """

    def __init__(self, rows: NDArray[np.float32], *, ordered: bool = True) -> None:
        """Factors the inverse of the Hessian of ``rows``, (tokens, channels)."""
        hessian = (rows.T @ rows).astype(np.float64)
        diagonal = np.diag(hessian)
        self._order = np.argsort(-diagonal, kind="stable") if ordered else np.arange(len(hessian))
        hessian[np.diag_indices_from(hessian)] += _DAMPING * float(diagonal.mean()) + 1e-9
        inverse = np.linalg.inv(hessian[self._order][:, self._order])
        self._upper = np.linalg.cholesky(inverse).T

    def __call__(
        self,
        weight: NDArray[np.float32],
        scales: NDArray[np.float32],
        min_code: int | NDArray[np.integer],
        max_code: int | NDArray[np.integer],
    ) -> NDArray[np.int16]:
        """Returns codes from ``min_code`` to ``max_code`` of (channels, outputs) weights.

        ``scales`` and both bounds have the weights' shape or broadcast to it.
        """
        left = weight[self._order].astype(np.float64)
        upper = self._upper
        steps, low, high = (
            np.broadcast_to(value, weight.shape)[self._order] for value in (scales, min_code, max_code)
        )
        codes = np.empty(left.shape, np.int16)
        for start in range(0, len(left), _BLOCK):
            end = min(start + _BLOCK, len(left))
            errors = np.empty((end - start, left.shape[1]))
            for row in range(start, end):
                code = np.clip(np.rint(left[row] / steps[row]), low[row], high[row])
                codes[row] = code
                error = (left[row] - code * steps[row]) / upper[row, row]
                errors[row - start] = error
                left[row + 1 : end] -= np.outer(upper[row, row + 1 : end], error)
            left[end:] -= upper[start:end, end:].T @ errors
        result = np.empty_like(codes)
        result[self._order] = codes
        return result
