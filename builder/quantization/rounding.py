"""Weights to integers so that the errors of the product, not of the weights, are small."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

_DAMPING = 0.01
_BLOCK = 128

Limit: TypeAlias = "int | NDArray[np.integer]"
# Called with a channel, and the codes of its neighbour (0 and 1, 2 and 3...) if those are known.
Bounds: TypeAlias = Callable[[int, "NDArray[np.int16] | None"], tuple[Limit, Limit]]


@dataclass(frozen=True, slots=True)
class ChannelLimits:
    """What the integers of an output channel's weights may be: from ``-largest`` to ``largest``.

    With ``pairs``, two neighbouring input channels (0 and 1, 2 and 3...) have positive weights of at most
    that sum, and negative ones of at least minus that.
    """

    largest: int
    pairs: int | None = None

    def scales(self, weight: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the smallest step that holds each output channel of (channels, outputs) weights."""
        steps = np.maximum(np.abs(weight).max(axis=0), 1e-12) / self.largest
        if self.pairs is not None:
            padded = weight if len(weight) % 2 == 0 else np.pad(weight, ((0, 1), (0, 0)))
            for side in (padded, -padded):
                sums = np.maximum(side, 0).reshape(-1, 2, weight.shape[1]).sum(axis=1).max(axis=0)
                # Both may be rounded up.
                steps = np.maximum(steps, sums / (self.pairs - 1))
        result: NDArray[np.float32] = steps.astype(np.float32)
        return result

    def bounds(self, _channel: int, partner: NDArray[np.int16] | None) -> tuple[Limit, Limit]:
        """Returns the smallest and the largest code of a channel whose neighbour has ``partner``, if any."""
        if self.pairs is None or partner is None:
            return -self.largest, self.largest
        return (
            -np.minimum(self.largest, self.pairs - np.maximum(-partner, 0)),
            np.minimum(self.largest, self.pairs - np.maximum(partner, 0)),
        )


def round_to_nearest(
    weight: NDArray[np.float32], scales: NDArray[np.float32], limits: ChannelLimits
) -> NDArray[np.int8]:
    """Returns codes of (channels, outputs) weights, within the limits that ``scales`` were made for."""
    codes: NDArray[np.int8] = np.clip(np.rint(weight / scales), -limits.largest, limits.largest).astype(
        np.int8
    )
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
        hessian = rows.T @ rows
        diagonal = np.diag(hessian)
        self._order = np.argsort(-diagonal, kind="stable") if ordered else np.arange(len(hessian))
        hessian[np.diag_indices_from(hessian)] += _DAMPING * float(diagonal.mean()) + 1e-9
        # Of the reversed order: its inverse, reversed back, is the upper factor of the Hessian's inverse. The
        # damping keeps its condition below a hundred times its channels, which float32 is enough for.
        reverse = self._order[::-1]
        lower = torch.from_numpy(hessian[np.ix_(reverse, reverse)])
        torch.linalg.cholesky(lower, out=lower)
        inverse = torch.linalg.solve_triangular(lower, torch.eye(len(lower)), upper=False)
        self._upper = np.ascontiguousarray(inverse.numpy()[::-1, ::-1])

    def __call__(
        self,
        weight: NDArray[np.float32],
        scales: NDArray[np.float32],
        bounds: Bounds,
    ) -> NDArray[np.int16]:
        """Returns codes of (channels, outputs) weights; ``scales`` has their shape or broadcasts to it.

        ``bounds`` gives the smallest and largest codes of a channel.
        """
        left = weight[self._order]
        upper = self._upper
        steps = np.broadcast_to(scales, weight.shape)
        place = np.argsort(self._order)
        codes = np.empty(left.shape, np.int16)
        for start in range(0, len(left), _BLOCK):
            end = min(start + _BLOCK, len(left))
            errors = np.empty((end - start, left.shape[1]), np.float32)
            for row in range(start, end):
                channel = int(self._order[row])
                neighbour = place[channel ^ 1] if channel ^ 1 < len(place) else row
                low, high = bounds(channel, codes[neighbour] if neighbour < row else None)
                now = left[row] - upper[start:row, row] @ errors[: row - start]
                code = np.clip(np.rint(now / steps[channel]), low, high)
                codes[row] = code
                errors[row - start] = (now - code * steps[channel]) / upper[row, row]
            left[end:] -= upper[start:end, end:].T @ errors
        result = np.empty_like(codes)
        result[self._order] = codes
        return result
