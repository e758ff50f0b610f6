"""What every door that embeds shares: the role of a text, and how vectors are written."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from lambda_app.api import fields

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.models.embedder import InputType

INPUT_TYPES = ("query", "passage", "none")
# Most texts that reach a function are documents on their way into an index.
DEFAULT_INPUT_TYPE = "passage"


def input_type(body: Mapping[str, Any]) -> InputType:
    """The role of the texts, stated by the caller, or the documented default; never guessed."""
    return cast("InputType", fields.optional_choice(body, "input_type", INPUT_TYPES, DEFAULT_INPUT_TYPE))


def encode_vectors(vectors: np.ndarray, encoding: str) -> list[Any]:
    """(texts, dimensions) float32 as lists of numbers, or as one base64 of little-endian float32 a text."""
    if encoding == "base64":
        return [
            base64.b64encode(vector.tobytes()).decode("ascii") for vector in vectors.astype("<f4", copy=False)
        ]
    return cast("list[Any]", vectors.tolist())
