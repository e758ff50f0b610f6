"""Products of integers, as onnxruntime's nodes.

``QuantizeLinear`` and ``MatMulIntegerToFloat`` or ``QAttention``. A step for each token is a block of
``QuantizeLinear`` that is as wide as the row, and a row scale of the product: measured, that takes a third
to half of what dividing each row and multiplying it back does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from builder.graph.products import Product, by_input
from builder.quantization.activation_scale import ActivationScale

# The first in which QuantizeLinear has blocks.
OPSET = 21
_FUSED = "com.microsoft"
_GELUS = {"BiasGelu": "Gelu", "FastGelu": "FastGelu"}


@dataclass(frozen=True, slots=True)
class Rounded:
    """A product's weights as integers, and the step of each output channel."""

    codes: NDArray[np.int8]
    scales: NDArray[np.float32]


def write_products(
    model: ModelProto,
    products: Sequence[Product],
    scales: Mapping[str, ActivationScale],
    rounded: Mapping[str, Rounded],
) -> None:
    """Replaces products of a graph with those of integers.

    ``scales`` are those of their inputs, by tensor; ``rounded`` are the weights, by initializer.
    """
    _raise_opset(model)
    writer = _Writer(model, scales, rounded)
    writer.write(products)


class _Writer:
    def __init__(
        self, model: ModelProto, scales: Mapping[str, ActivationScale], rounded: Mapping[str, Rounded]
    ) -> None:
        self._graph = model.graph
        self._scales, self._rounded = scales, rounded
        self._constants: dict[str, NDArray[np.generic]] = {}
        self._zeros: dict[int, str] = {}
        self._nodes: list[NodeProto] = []

    def write(self, products: Sequence[Product]) -> None:
        names = {product.name for product in products}
        weights = {product.weight for product in products}
        readers: dict[str, list[NodeProto]] = {}
        for node in self._graph.node:
            for name in node.input:
                readers.setdefault(name, []).append(node)
        firsts = {group[0].name: tensor for tensor, group in by_input(list(products)).items()}
        biases = {
            node.name: self._bias(node, readers)
            for node in self._graph.node
            if node.name in names and node.op_type == "MatMul"
        }
        absorbed = {id(reader) for reader in biases.values() if reader is not None}
        for node in self._graph.node:
            if node.name in firsts:
                self._quantize(firsts[node.name])
            if node.name in names and node.op_type == "MatMul":
                self._matmul(node, biases[node.name])
            elif node.name in names:
                self._attention(node)
            elif id(node) not in absorbed:
                self._nodes.append(node)
        copies = [NodeProto.FromString(node.SerializeToString()) for node in self._nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)
        for tensor in [one for one in self._graph.initializer if one.name in weights]:
            self._graph.initializer.remove(tensor)
        self._graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in self._constants.items()
        )

    def _bias(self, product: NodeProto, readers: Mapping[str, list[NodeProto]]) -> NodeProto | None:
        """The node that adds a bias to a product whose sums nothing else reads, None without one."""
        after = readers.get(product.output[0], [])
        if len(after) != 1 or any(value.name == product.output[0] for value in self._graph.output):
            return None
        node = after[0]
        if node.op_type != "Add" and not (node.op_type in _GELUS and len(node.input) == 2):
            return None
        other = node.input[0] if node.input[1] == product.output[0] else node.input[1]
        shapes = {tensor.name: tensor.dims for tensor in self._graph.initializer}
        return node if len(shapes.get(other, ())) == 1 else None

    def _quantize(self, tensor: str) -> None:
        scale = self._scales[tensor]
        if not scale.per_token:
            step = self._constant(f"{tensor}_step", np.float32(scale.step))
            zero = self._constant(f"{tensor}_zero", np.uint8(scale.zero))
            self._add("QuantizeLinear", [tensor, step, zero], f"{tensor}_codes")
            return
        axes = self._constant("row_axis", np.array([-1], np.int64))
        if scale.one_sided:
            self._add("ReduceMax", [tensor, axes], f"{tensor}_largest", keepdims=1)
            largest = [f"{tensor}_largest"]
        else:
            self._add("ReduceMax", [tensor, axes], f"{tensor}_high", keepdims=1)
            self._add("ReduceMin", [tensor, axes], f"{tensor}_low", keepdims=1)
            self._add("Neg", [f"{tensor}_low"], f"{tensor}_depth")
            largest = [f"{tensor}_high", f"{tensor}_depth"]
        floor = self._constant(f"{tensor}_floor", np.float32(scale.floor))
        self._add("Max", [*largest, floor], f"{tensor}_reach")
        share = self._constant(f"row_share_{scale.zero}", np.float32(scale.step))
        self._add("Mul", [f"{tensor}_reach", share], f"{tensor}_step")
        zeros = self._row_zeros(scale.zero)
        width = next(len(value.codes) for value in self._weights_of(tensor))
        codes = [tensor, f"{tensor}_step", zeros]
        self._add("QuantizeLinear", codes, f"{tensor}_codes", axis=-1, block_size=width)

    def _weights_of(self, tensor: str) -> list[Rounded]:
        return [
            self._rounded[node.input[1]]
            for node in self._graph.node
            if tensor in node.input[:1] and len(node.input) > 1 and node.input[1] in self._rounded
        ]

    def _matmul(self, node: NodeProto, follower: NodeProto | None) -> None:
        tensor, weight = node.input[0], node.input[1]
        scale, value = self._scales[tensor], self._rounded[weight]
        codes = self._constant(f"{weight}_codes", value.codes)
        steps = self._constant(f"{weight}_steps", value.scales)
        zero = self._constant(f"{tensor}_zero", np.uint8(scale.zero))
        inputs = [f"{tensor}_codes", codes, f"{tensor}_step", steps, zero]
        output = node.output[0]
        if follower is None:
            self._add("MatMulIntegerToFloat", inputs, output, node.name, domain=_FUSED)
            return
        bias = follower.input[0] if follower.input[1] == output else follower.input[1]
        sums = follower.output[0] if follower.op_type == "Add" else f"{output}_biased"
        if scale.per_token:
            # The product's own bias would be multiplied by the row's step too.
            self._add("MatMulIntegerToFloat", inputs, output, node.name, domain=_FUSED)
            self._add("Add", [output, bias], sums, f"{node.name}_bias")
        else:
            self._add("MatMulIntegerToFloat", [*inputs, "", bias], sums, node.name, domain=_FUSED)
        if follower.op_type != "Add":
            # Its own bias would take a pass that takes as long as GELU does.
            gelu = _GELUS[follower.op_type]
            self._add(gelu, [sums], follower.output[0], follower.name, domain=_FUSED)

    def _attention(self, node: NodeProto) -> None:
        tensor, weight = node.input[0], node.input[1]
        scale, value = self._scales[tensor], self._rounded[weight]
        inputs = [
            f"{tensor}_codes",
            self._constant(f"{weight}_codes", value.codes),
            node.input[2],
            f"{tensor}_step",
            self._constant(f"{weight}_steps", value.scales),
            node.input[3] if len(node.input) > 3 else "",
            self._constant(f"{tensor}_zero", np.uint8(scale.zero)),
            self._constant(f"{weight}_zeros", np.zeros(value.scales.shape, np.int8)),
        ]
        replacement = helper.make_node("QAttention", inputs, list(node.output), node.name, domain=_FUSED)
        known = {"num_heads", "unidirectional", "mask_filter_value", "do_rotary"}
        replacement.attribute.extend(one for one in node.attribute if one.name in known)
        self._nodes.append(replacement)

    def _row_zeros(self, zero: int) -> str:
        """The name of ``zero`` for each token, (batch, seq, 1)."""
        if zero not in self._zeros:
            if not self._zeros:
                one = self._constant("row_width", np.array([1], np.int64))
                self._add("Shape", ["input_ids"], "token_shape")
                self._nodes.append(
                    helper.make_node("Concat", ["token_shape", one], ["row_shape"], "row_shape", axis=0)
                )
            value = self._constant(f"row_zero_{zero}", np.uint8(zero))
            self._zeros[zero] = f"row_zeros_{zero}"
            self._add("Expand", [value, "row_shape"], self._zeros[zero])
        return self._zeros[zero]

    def _constant(self, name: str, value: NDArray[np.generic] | np.generic) -> str:
        self._constants[name] = np.asarray(value)
        return name

    def _add(
        self,
        operator: str,
        inputs: list[str],
        output: str,
        name: str = "",
        domain: str = "",
        **attributes: int,
    ) -> None:
        self._nodes.append(
            helper.make_node(operator, inputs, [output], name or output, domain=domain, **attributes)
        )


def _raise_opset(model: ModelProto) -> None:
    for entry in model.opset_import:
        if entry.domain == "" and entry.version < OPSET:
            entry.version = OPSET
