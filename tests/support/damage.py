"""Models of bundles with an error in them, as a build with a mistake would write them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_app.bundle import ModelInfo

Change = Callable[[NDArray[Any]], None]

_WEIGHT_TYPES = ("int8", "uint8", "float32")
# Smaller ones are scales and constants.
_WEIGHT_BYTES = 2000


def damaged(model: ModelInfo, directory: Path, tensor: str, change: Change) -> ModelInfo:
    """A copy of a model in ``directory``, which is written anew, with one tensor changed in place."""
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(model.directory, directory)
    entry = next(one for one in model.tensors if one.name == tensor)
    data = np.memmap(directory / model.weights_path.name, np.uint8, "r+")
    change(data[entry.offset : entry.offset + entry.bytes].view(entry.dtype).reshape(entry.shape))
    data.flush()
    return model._replace(directory=directory)


def shuffled(weight: NDArray[Any]) -> None:
    """Puts the first axis of a weight into another order."""
    weight[:] = weight[np.random.default_rng(0).permutation(len(weight))]


def off_by_a_fifth(scale: NDArray[Any]) -> None:
    """Makes a scale 20% larger."""
    scale *= scale.dtype.type(1.2)


def scales_of(model: ModelInfo) -> Iterator[str]:
    """The tensors that integer weights are multiplied with, and factors that were moved into them."""
    for tensor in model.tensors:
        if tensor.dtype == "float32" and tensor.name.endswith(("_steps", "_scale", "_scales", "_factors")):
            yield tensor.name


def weights_of(model: ModelInfo) -> Iterator[str]:
    """The weights of products, without lookup tables."""
    for tensor in model.tensors:
        matrix = len(tensor.shape) > 1 and tensor.shape[0] > 1 and tensor.dtype in _WEIGHT_TYPES
        if (
            matrix
            and tensor.bytes > _WEIGHT_BYTES
            and not {"embeddings", "scales", "zero"} & set(re.split(r"[._]", tensor.name))
        ):
            yield tensor.name
