"""How vectors are written in an answer: as numbers or base64, whole or quantized."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np

DTYPES = ("float", "int8", "uint8", "binary", "ubinary")
# An int8 covers this many standard deviations of a number in a random unit vector, 1/sqrt(dimensions). One
# scale for all vectors keeps their inner products comparable; what lies beyond it is clipped.
INT8_DEVIATIONS = 5.0


def encode_vectors(vectors: np.ndarray, dtype: str = "float", *, as_base64: bool = False) -> list[Any]:
    """(texts, dimensions) float32 as one list of numbers a text, or one base64 of little-endian numbers.

    ``dtype`` is one of :data:`DTYPES`: ``float`` is float32; ``int8`` is each number times
    127 * sqrt(dimensions) / 5, rounded and clipped; ``uint8`` is that plus 128; ``ubinary`` is one bit a
    number, set where it is positive, packed with the first number in the highest bit; ``binary`` is that
    minus 128.
    """
    rows = vectors.astype("<f4", copy=False) if dtype == "float" else _quantized(vectors, dtype)
    if as_base64:
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in rows]
    return cast("list[Any]", rows.tolist())


def _quantized(vectors: np.ndarray, dtype: str) -> np.ndarray:
    import numpy as np

    if dtype in {"binary", "ubinary"}:
        packed: np.ndarray = np.packbits(vectors > 0, axis=1)
        return packed if dtype == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    scale = 127.0 * vectors.shape[1] ** 0.5 / INT8_DEVIATIONS
    rounded: np.ndarray = np.rint(vectors * scale).clip(-127, 127)
    return rounded.astype(np.int8) if dtype == "int8" else (rounded + 128).astype(np.uint8)
