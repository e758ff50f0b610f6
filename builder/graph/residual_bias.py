"""Biases that are added to a residual stream, moved into the LayerNormalization that the residual comes from.

``LN(x + (y @ W + b))`` is ``LN((x + b) + y @ W)``, and ``x`` is the output of a LayerNormalization whose own
bias takes ``b``. Other products that read ``x`` subtract what ``b`` brings them from their biases. It is
exact, and an operator less for each product whose sums cannot take a bias.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

_BIAS_ADDERS = ("Add", "BiasGelu", "FastGelu")


def move_biases(model: ModelProto) -> int:
    """Moves biases where the graph has that form, and returns how many."""
    graph = _Graph(model)
    return sum(graph.move(node) for node in list(model.graph.node) if node.op_type == "Add")


class _Graph:
    def __init__(self, model: ModelProto) -> None:
        self._graph = model.graph
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._outputs = {value.name for value in model.graph.output}
        self._uses: dict[str, int] = {}
        for node in model.graph.node:
            for name in node.input:
                self._uses[name] = self._uses.get(name, 0) + 1

    def move(self, residual: NodeProto) -> bool:
        """Moves the bias of one of the two terms of a residual sum; returns whether there was one."""
        for term, other in (tuple(residual.input), tuple(residual.input)[::-1]):
            adder, norm = self._makers.get(term), self._makers.get(other)
            if adder is None or norm is None or norm.op_type != "LayerNormalization" or len(norm.input) < 3:
                continue
            bias, sums = self._bias(adder)
            product = self._makers.get(sums)
            if bias is None or product is None or product.op_type != "MatMul" or self._uses[term] != 1:
                continue
            readers = [
                node
                for node in self._graph.node
                if other in node.input and node is not residual and node.op_type != "Shape"
            ]
            places = [self._own_bias(node, other) for node in readers]
            if other in self._outputs or self._uses[norm.input[2]] != 1 or any(p is None for p in places):
                continue
            value = self._value(bias)
            for reader, place in zip(readers, places, strict=True):
                if place is not None:
                    weight = self._value(reader.input[1])
                    self._set(place, self._value(place) - (value.astype(np.float64) @ weight))
            self._set(norm.input[2], self._value(norm.input[2]) + value)
            for position, name in enumerate(residual.input):
                if name == term:
                    residual.input[position] = sums
            self._graph.node.remove(adder)
            return True
        return False

    def _bias(self, adder: NodeProto) -> tuple[str | None, str]:
        """The bias that a node adds and what it adds it to."""
        if adder.op_type in _BIAS_ADDERS and len(adder.input) == 2:
            for bias, sums in (tuple(adder.input), tuple(adder.input)[::-1]):
                if bias in self._tensors and len(self._tensors[bias].dims) == 1:
                    return bias, sums
        return None, ""

    def _own_bias(self, node: NodeProto, tensor: str) -> str | None:
        """The bias, used by nothing else, of a product that reads a tensor; None where it has none."""
        if list(node.input).count(tensor) != 1 or node.input[0] != tensor:
            return None
        if len(node.input) < 2 or node.input[1] not in self._tensors:
            return None
        bias: str | None = None
        if node.op_type == "Attention":
            bias = node.input[2] if len(node.input) > 2 else None
        elif node.op_type == "MatMul" and self._uses.get(node.output[0]) == 1:
            bias = self._bias(next(one for one in self._graph.node if node.output[0] in one.input))[0]
        return bias if bias is not None and bias in self._tensors and self._uses[bias] == 1 else None

    def _value(self, name: str) -> NDArray[np.float32]:
        value: NDArray[np.float32] = numpy_helper.to_array(self._tensors[name])
        return value

    def _set(self, name: str, value: NDArray[Any]) -> None:
        self._tensors[name].CopyFrom(numpy_helper.from_array(value.astype(np.float32), name))
