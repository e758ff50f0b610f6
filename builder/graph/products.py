"""The products of a graph that quantization changes: MatMul and Attention with constant weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

# Gemm (a cross-encoder's head, Dense layers: one row per text) stays in FP32: little to gain, scores to lose.
OPERATORS = ("MatMul", "Attention")


@dataclass(frozen=True, slots=True)
class Product:
    """``input @ weight``; ``name`` is the node's, ``weight`` the initializer's; ``rows`` by ``columns``."""

    name: str
    operator: str
    input: str
    weight: str
    rows: int
    columns: int

    @property
    def size(self) -> int:
        """The number of weights."""
        return self.rows * self.columns


class Weights:
    """A graph's initializers by name, read and written as arrays."""

    def __init__(self, model: ModelProto) -> None:
        """Indexes the initializers of a graph, which stay the graph's own."""
        self._protos: dict[str, TensorProto] = {tensor.name: tensor for tensor in model.graph.initializer}

    def __contains__(self, name: str) -> bool:
        """Returns whether the graph has an initializer of that name."""
        return name in self._protos

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        """Returns an initializer as an array."""
        value: NDArray[np.float32] = numpy_helper.to_array(self._protos[name])
        return value

    def __setitem__(self, name: str, value: NDArray[np.generic]) -> None:
        """Replaces an initializer's values."""
        self._protos[name].CopyFrom(numpy_helper.from_array(value, name))


def find_products(model: ModelProto, operators: tuple[str, ...] = OPERATORS) -> list[Product]:
    """Returns products in the order in which the graph runs them, without those that share a weight."""
    shapes = {
        tensor.name: tuple(tensor.dims)
        for tensor in model.graph.initializer
        if len(tensor.dims) == 2 and tensor.data_type == TensorProto.FLOAT
    }
    uses: dict[str, int] = {}
    for node in model.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    return [
        Product(node.name, node.op_type, node.input[0], node.input[1], *shapes[node.input[1]])
        for node in model.graph.node
        if node.op_type in operators and node.input[1] in shapes and uses[node.input[1]] == 1
    ]


def by_input(products: list[Product]) -> dict[str, list[Product]]:
    """Groups products that read the same tensor."""
    groups: dict[str, list[Product]] = {}
    for product in products:
        groups.setdefault(product.input, []).append(product)
    return groups


def value_source(model: ModelProto, group: list[Product]) -> NodeProto | None:
    """Returns the Attention node whose output only these products read, None where there is none.

    What its V brings in comes out of it weighted by tokens, channel by channel, so a factor may move from the
    products to V.
    """
    readers = [node for node in model.graph.node if group[0].input in node.input]
    if {node.name for node in readers} != {product.name for product in group}:
        return None
    if any(value.name == group[0].input for value in model.graph.output):
        return None
    for node in model.graph.node:
        if group[0].input in node.output:
            plain = node.op_type == "Attention" and len(node.input) > 2 and bool(node.input[2])
            sizes = any(attribute.name == "qkv_hidden_sizes" for attribute in node.attribute)
            return node if plain and not sizes else None
    return None
