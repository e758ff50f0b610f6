"""``model.onnx`` and ``model.bin``: where each weight lies in the file that the function maps.

Lookup tables, of which a request touches a few rows, come first and are never read ahead. Dense weights
follow, page-aligned, in the order in which the graph uses them: the kernel reads ahead past the end of what
it was asked for (by up to 8 MB where that was measured), and after the last weight there is nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, TensorProto, numpy_helper

from builder.graph.export import strip
from lambda_app.bundle import GRAPH, WEIGHTS, Tensor

ALIGNMENT = 64  # bytes: a cache line, and the widest vector load
PAGE = 4096
# Smaller initializers stay in the graph.
EXTERNAL_BYTES = 1024
# A smaller table is cheaper to read ahead whole than to fault in page by page.
SPARSE_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Weight:
    proto: TensorProto
    value: NDArray[Any]
    sparse: bool


def write_model(model: ModelProto, directory: Path) -> tuple[Tensor, ...]:
    """Writes the graph and its weights, and returns what lies in ``model.bin``, by offset.

    ``model`` is left without its large weights.
    """
    strip(model)
    order = _order_of_use(model.graph)
    tables = _lookup_tables(model.graph)
    weights = []
    for proto in model.graph.initializer:
        value = numpy_helper.to_array(proto)
        if value.nbytes >= EXTERNAL_BYTES:
            weights.append(_Weight(proto, value, proto.name in tables and value.nbytes >= SPARSE_BYTES))
    weights.sort(
        key=lambda weight: (not weight.sparse, order.get(weight.proto.name, len(order)), weight.proto.name)
    )
    tensors: list[Tensor] = []
    with (directory / WEIGHTS).open("wb") as stream:
        for weight in weights:
            after_table = bool(tensors) and tensors[-1].sparse
            offset = _pad(stream.tell(), PAGE if weight.sparse or after_table else ALIGNMENT)
            stream.write(b"\0" * (offset - stream.tell()))
            stream.write(np.ascontiguousarray(weight.value).tobytes())
            tensors.append(_entry(weight, offset))
    for weight, tensor in zip(weights, tensors, strict=True):
        _point_outside(weight.proto, tensor)
    (directory / GRAPH).write_bytes(model.SerializeToString(deterministic=True))
    return tuple(tensors)


def _entry(weight: _Weight, offset: int) -> Tensor:
    value = weight.value
    return Tensor(weight.proto.name, value.dtype.name, value.shape, offset, value.nbytes, weight.sparse)


def _point_outside(proto: TensorProto, tensor: Tensor) -> None:
    for field in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        proto.ClearField(field)
    del proto.external_data[:]
    proto.data_location = TensorProto.EXTERNAL
    for key, text in (("location", WEIGHTS), ("offset", str(tensor.offset)), ("length", str(tensor.bytes))):
        entry = proto.external_data.add()
        entry.key, entry.value = key, text


def _order_of_use(graph: GraphProto) -> dict[str, int]:
    order: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            order.setdefault(name, len(order))
    return order


def _lookup_tables(graph: GraphProto) -> set[str]:
    """Initializers that are only ever read row by row."""
    gathered = {node.input[0] for node in graph.node if node.op_type == "Gather"}
    read = {
        name
        for node in graph.node
        for position, name in enumerate(node.input)
        if not (node.op_type == "Gather" and position == 0)
    }
    return gathered - read


def _pad(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
