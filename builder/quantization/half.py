"""Large FP32 weights stored as FP16, for the scheme ``fp16-weights``."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_HALF_BYTES = 4096


def store_half(model: ModelProto) -> None:
    """Stores large FP32 weights as FP16, and casts them to FP32 where they are used.

    A lookup in a table comes before the cast, so that no more of the table is read.
    """
    half: dict[str, str] = {}
    tables = {node.input[0] for node in model.graph.node if node.op_type == "Gather"}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and value.ndim == 2 and value.nbytes >= _HALF_BYTES:
            half[tensor.name] = f"{tensor.name}_half"
            limit = np.finfo(np.float16).max
            small = np.clip(value, -limit, limit).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(small, half[tensor.name]))
    nodes: list[NodeProto] = []
    done: set[str] = set()
    for node in model.graph.node:
        after = None
        for position, name in enumerate(node.input):
            if name not in half:
                continue
            if node.op_type == "Gather" and position == 0 and name in tables:
                output = node.output[0]
                node.input[0], node.output[0] = half[name], f"{output}_half"
                after = _to_float(f"{output}_half", output)
            elif name not in done:
                nodes.append(_to_float(half[name], name))
                done.add(name)
        nodes.append(node)
        if after is not None:
            nodes.append(after)
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _to_float(name: str, output: str) -> NodeProto:
    return helper.make_node("Cast", [name], [output], f"{output}_float", to=TensorProto.FLOAT)
