"""Writes the vectors of a response: as numbers or base64, whole or quantized."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    import numpy as np

Encoding = Literal["float", "base64"]
ENCODINGS: Mapping[str, Encoding] = {"float": "float", "base64": "base64"}
DTYPES = ("float", "int8", "uint8", "binary", "ubinary")
# An int8 covers this many standard deviations of a number in a random unit vector, 1/sqrt(dimensions). One
# scale for all vectors keeps their inner products comparable; what lies beyond it is clipped.
INT8_DEVIATIONS = 5.0


def encode_vectors(vectors: np.ndarray, dtype: str = "float", *, as_base64: bool = False) -> list[Any]:
    """Returns (texts, dimensions) float32 as a list of numbers for each text, or as base64.

    Base64 holds little-endian numbers. Floats have the shortest digits that read back as the same
    float32: half the bytes of the exact value.

    ``dtype`` is one of :data:`DTYPES`: ``float`` is float32; ``int8`` is each number times
    127 * sqrt(dimensions) / 5, rounded and clipped; ``uint8`` is that plus 128; ``ubinary`` is one bit a
    number, set where it is positive, packed with the first number in the highest bit; ``binary`` is that
    minus 128.
    """
    rows = vectors.astype("<f4", copy=False) if dtype == "float" else _quantized(vectors, dtype)
    if as_base64:
        return [base64.b64encode(row.tobytes()).decode("ascii") for row in rows]
    if dtype == "float":
        return _shortest(rows)
    return cast("list[Any]", rows.tolist())


def _shortest(rows: np.ndarray) -> list[Any]:
    """Returns rows of float32 as Python floats whose ``repr`` is as short as the float32 allows.

    orjson writes float32 that way, and reading the text back keeps the short form for any JSON encoder:
    awslambdaric's too. Imported here, since base64 and reranking need none of it.
    """
    import numpy as np
    import orjson

    text = orjson.dumps(np.ascontiguousarray(rows, dtype=np.float32), option=orjson.OPT_SERIALIZE_NUMPY)
    return cast("list[Any]", orjson.loads(text))


def _quantized(vectors: np.ndarray, dtype: str) -> np.ndarray:
    import numpy as np

    if dtype in {"binary", "ubinary"}:
        packed: np.ndarray = np.packbits(vectors > 0, axis=1)
        return packed if dtype == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    scale = 127.0 * vectors.shape[1] ** 0.5 / INT8_DEVIATIONS
    rounded: np.ndarray = np.rint(vectors * scale).clip(-127, 127)
    return rounded.astype(np.int8) if dtype == "int8" else (rounded + 128).astype(np.uint8)
