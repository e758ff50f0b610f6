"""What follows an embedder's last hidden state: pooling, Dense layers, normalisation, as graph nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from builder.errors import ExportError

EMBEDDING_OUTPUT = "embedding"


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """``activation(weight @ vector + bias)``; ``weight`` is (out, in) float32, ``bias`` (out,) or None."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32] | None
    activation: str


def add_head(
    model: ModelProto, hidden: str, pooling: str, dense: Sequence[DenseLayer], dimensions: int
) -> None:
    """Adds pooling, Dense layers and normalisation to a graph.

    The graph's output ``embedding`` then has (batch, dimensions) unit vectors, made of the tensor ``hidden``
    (batch, seq, hidden). Padding is on the right, as the function pads.

    Raises:
        ExportError: the pooling or an activation is unknown.
    """
    # Normalisation makes the mean's division by the number of tokens disappear, if it comes right after it.
    vector = add_pooling(model, hidden, pooling, divide=bool(dense))
    for index, layer in enumerate(dense):
        vector = _add_dense(model, vector, layer, f"dense_{index}")
    model.graph.node.append(
        helper.make_node("LpNormalization", [vector], [EMBEDDING_OUTPUT], EMBEDDING_OUTPUT, axis=-1, p=2)
    )
    model.graph.output.append(
        helper.make_tensor_value_info(EMBEDDING_OUTPUT, TensorProto.FLOAT, ["batch", dimensions])
    )


def add_pooling(model: ModelProto, hidden: str, pooling: str, *, divide: bool) -> str:
    """Adds (batch, seq, hidden) to (batch, hidden), and returns the name of the result.

    Without ``divide`` the mean is a sum.
    """
    if pooling == "mean":
        initializer(model, "pooling_axis", np.array([1], np.int64))
        model.graph.node.extend(
            [
                helper.make_node(
                    "Cast", ["attention_mask"], ["pooling_mask"], "pooling_mask", to=TensorProto.FLOAT
                ),
                _node("Unsqueeze", ["pooling_mask", "pooling_axis"], "pooling_row"),
                # (batch, 1, seq) x (batch, seq, hidden): one product, no masked copy of the states.
                _node("MatMul", ["pooling_row", hidden], "pooling_sum"),
                _node("Squeeze", ["pooling_sum", "pooling_axis"], "pooled"),
            ]
        )
        if not divide:
            return "pooled"
        model.graph.node.extend(
            [
                _node("ReduceSum", ["pooling_mask", "pooling_axis"], "pooling_count"),
                _node("Div", ["pooled", "pooling_count"], "pooled_mean"),
            ]
        )
        return "pooled_mean"
    if pooling == "cls":
        initializer(model, "pooling_first", np.array(0, np.int64))
        model.graph.node.append(
            helper.make_node("Gather", [hidden, "pooling_first"], ["pooled"], "pooled", axis=1)
        )
    elif pooling == "last":
        initializer(model, "pooling_axis", np.array([1], np.int64))
        model.graph.node.extend(
            [
                _node("ReduceSum", ["attention_mask", "pooling_axis"], "pooling_count"),
                _node("Sub", ["pooling_count", "pooling_axis"], "pooling_last"),
                helper.make_node("GatherND", [hidden, "pooling_last"], ["pooled"], "pooled", batch_dims=1),
            ]
        )
    else:
        raise ExportError(f"no such pooling: {pooling}")
    return "pooled"


def _add_dense(model: ModelProto, vector: str, layer: DenseLayer, name: str) -> str:
    """A Gemm, which every quantization leaves in FP32: one row a text, little to gain and vectors to lose."""
    inputs = [vector, f"{name}_weight"]
    initializer(model, inputs[1], layer.weight)
    if layer.bias is not None:
        inputs.append(f"{name}_bias")
        initializer(model, inputs[2], layer.bias)
    model.graph.node.append(helper.make_node("Gemm", inputs, [name], name, transB=1))
    if layer.activation == "identity":
        return name
    if layer.activation == "gelu":
        return _add_gelu(model, name)
    operators = {"tanh": "Tanh", "relu": "Relu", "sigmoid": "Sigmoid"}
    if layer.activation not in operators:
        raise ExportError(f"no such activation: {layer.activation}")
    model.graph.node.append(_node(operators[layer.activation], [name], f"{name}_active"))
    return f"{name}_active"


def _add_gelu(model: ModelProto, name: str) -> str:
    """Adds GELU in its exact form, torch.nn.GELU's default: x * (1 + erf(x / sqrt(2))) / 2."""
    for constant, value in (("root", 2**0.5), ("one", 1.0), ("half", 0.5)):
        initializer(model, f"{name}_{constant}", np.array(value, np.float32))
    model.graph.node.extend(
        [
            _node("Div", [name, f"{name}_root"], f"{name}_scaled"),
            _node("Erf", [f"{name}_scaled"], f"{name}_erf"),
            _node("Add", [f"{name}_erf", f"{name}_one"], f"{name}_shifted"),
            _node("Mul", [name, f"{name}_shifted"], f"{name}_product"),
            _node("Mul", [f"{name}_product", f"{name}_half"], f"{name}_active"),
        ]
    )
    return f"{name}_active"


def initializer(model: ModelProto, name: str, value: NDArray[Any]) -> None:
    """Adds a constant to a graph."""
    model.graph.initializer.append(numpy_helper.from_array(value, name))


def _node(operator: str, inputs: Sequence[str], output: str) -> NodeProto:
    return helper.make_node(operator, inputs, [output], output)
