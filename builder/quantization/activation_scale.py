"""How the input of a product becomes 8 bits: by a constant step, or by one for each token.

Neither looks at other rows of the batch, so that a text has the same vector whatever it is batched with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.errors import ConfigError
from builder.quantization.calibration import sample

MAX_CODE = 255
# A constant step holds values this much beyond the calibration texts' range.
MARGIN = 0.05
# A step for each token is worth its passes where it makes the squared error this many times smaller. Outputs
# of a LayerNormalization reach 2 to 3.5, GELU's 7 to 22 (all-MiniLM-L6-v2).
_WORTH_A_ROW_STEP = 4.0
# A tensor is one-sided, as GELU's output is, when its negative values reach no further than this share of
# the positive ones in the median row; rows that are small as a whole then count as larger than they are.
_ONE_SIDED = 0.12


@dataclass(frozen=True, slots=True)
class ActivationScale:
    """Makes 8-bit codes of a tensor's rows; a value is ``(code - zero) * step``.

    With ``per_token``, ``step`` is a share of each row's largest value (of its magnitude, unless
    ``one_sided``), and a row counts as at least ``floor``. ``low`` and ``high`` are the extremes of the
    calibration texts, beyond which there are codes for ``margin`` more.
    """

    per_token: bool
    step: float
    zero: int
    floor: float
    one_sided: bool
    low: float
    high: float
    margin: float = MARGIN

    def row_scales(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns what the steps of (tokens, channels) rows are multiplied with, (tokens, 1)."""
        if not self.per_token:
            return np.ones((len(rows), 1), np.float32)
        largest = rows.max(axis=1, keepdims=True)
        if not self.one_sided:
            largest = np.maximum(largest, -rows.min(axis=1, keepdims=True))
        result: NDArray[np.float32] = np.maximum(largest, np.float32(self.floor))
        return result

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns (tokens, channels) rows as they are after quantization."""
        steps = self.row_scales(rows) * np.float32(self.step)
        # In place: what is large here does not fit any cache.
        result: NDArray[np.float32] = rows / steps
        np.rint(result, out=result)
        np.clip(result, -self.zero, MAX_CODE - self.zero, out=result)
        result *= steps
        return result

    def record(self) -> dict[str, Any]:
        """Returns what the manifest says of it."""
        known = {"scale": "token" if self.per_token else "static", "step": self.step, "zero": self.zero}
        if self.per_token:
            known |= {"floor": self.floor, "one_sided": self.one_sided}
        return {**known, "low": self.low, "high": self.high, "margin": self.margin}


def read_scales(records: Mapping[str, Any]) -> dict[str, ActivationScale]:
    """Reads what :meth:`ActivationScale.record` returned for each tensor.

    Raises:
        ConfigError: a field is missing, or not what it should be.
    """
    try:
        return {name: _read(record) for name, record in records.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"the manifest's scales of activations cannot be read: {error!r}") from error


def _read(record: Mapping[str, Any]) -> ActivationScale:
    per_token = {"token": True, "static": False}[record["scale"]]
    numbers = [record["step"], record["floor"] if per_token else 0.0]
    numbers += [record[name] for name in ("low", "high", "margin")]
    step, floor, low, high, margin = map(float, numbers)
    zero, one_sided = record["zero"], record["one_sided"] if per_token else False
    if not (step > 0 and floor >= 0 and all(map(math.isfinite, (step, floor, low, high, margin)))):
        raise ValueError(f"step {step}, floor {floor}")
    if zero not in range(MAX_CODE + 1) or one_sided not in (True, False):
        raise ValueError(f"zero {zero!r}, one_sided {one_sided!r}")
    return ActivationScale(per_token, step, int(zero), floor, bool(one_sided), low, high, margin)


def choose_scale(rows: NDArray[np.float32], *, per_token: bool | None = None) -> ActivationScale:
    """Chooses the scale of a tensor from its (tokens, channels) rows on the calibration texts.

    ``per_token`` decides, where it is not None.
    """
    if per_token is None:
        static, rowwise = (_scale(rows, kind) for kind in (False, True))
        some = sample(rows)
        return rowwise if _error(static, some) > _WORTH_A_ROW_STEP * _error(rowwise, some) else static
    return _scale(rows, per_token)


def _error(scale: ActivationScale, rows: NDArray[np.float32]) -> float:
    return float(np.square(scale(rows) - rows).sum())


def _scale(rows: NDArray[np.float32], per_token: bool) -> ActivationScale:
    low, high = float(min(rows.min(), 0)), float(max(rows.max(), 0))
    if not per_token:
        step = _float32(max((high - low) * (1 + MARGIN), 1e-9) / MAX_CODE)
        return ActivationScale(False, step, round(-low * (1 + MARGIN) / step), 0.0, False, low, high)
    usual = float(np.median(np.maximum(rows.max(axis=1), -rows.min(axis=1))))
    below = -low * (1 + MARGIN) / max(usual, 1e-9)
    if below <= _ONE_SIDED:
        # Rows below the floor would need more codes for their negative values than there are.
        zero = math.ceil(below / (1 + below) * MAX_CODE)
        step = _float32(1 / (MAX_CODE - zero))
        floor = max(-low * (1 + MARGIN) / (zero * step) if zero else 0.0, 1e-9)
        return ActivationScale(True, step, zero, _float32(floor), True, low, high)
    # A row of zeros stays one.
    floor = _float32(max(usual * 1e-4, 1e-9))
    return ActivationScale(True, _float32(1 / 127), 128, floor, False, low, high)


def _float32(value: float) -> float:
    return float(np.float32(value))
