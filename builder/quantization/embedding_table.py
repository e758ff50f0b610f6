"""The table of word embeddings as INT8.

onnxruntime offers one scale for a whole table (its quantized Gather), which is too coarse: here each row has
its own.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_ROWS = 8192


def quantize_embedding_rows(model: ModelProto, vocabulary: int) -> None:
    """Makes the table behind ``Gather(table, input_ids)`` INT8 with one scale per row.

    Rows and scales are gathered first and multiplied after: a request reads its own rows and nothing else.
    A graph whose lookup is not of that form keeps its table.
    """
    found = find_embedding(model, vocabulary)
    if found is None:
        return
    node, position = found
    initializer = model.graph.initializer
    name = node.input[0]
    table = next(tensor for tensor in initializer if tensor.name == name)
    rows = numpy_helper.to_array(table)
    largest = np.maximum(rows.max(axis=1, keepdims=True), -rows.min(axis=1, keepdims=True))
    scales = np.where(largest > 0, largest / np.float32(127), np.float32(1)).astype(np.float32)
    quantized = np.empty(rows.shape, np.int8)
    # In parts: the table may be most of a model.
    for part in (slice(start, start + _ROWS) for start in range(0, len(rows), _ROWS)):
        quantized[part] = np.rint(rows[part] / scales[part])
    ids, output = node.input[1], node.output[0]
    replacement = [
        helper.make_node("Gather", [f"{name}_int8", ids], [f"{output}_int8"], f"{node.name}_int8"),
        helper.make_node(
            "Cast", [f"{output}_int8"], [f"{output}_cast"], f"{node.name}_cast", to=TensorProto.FLOAT
        ),
        helper.make_node("Gather", [f"{name}_scale", ids], [f"{output}_scale"], f"{node.name}_scale"),
        helper.make_node("Mul", [f"{output}_cast", f"{output}_scale"], [output], f"{node.name}_mul"),
    ]
    nodes = [*model.graph.node[:position], *replacement, *model.graph.node[position + 1 :]]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    if not any(name in other.input for other in nodes):
        initializer.remove(table)
    initializer.extend(
        [
            numpy_helper.from_array(quantized, f"{name}_int8"),
            numpy_helper.from_array(scales, f"{name}_scale"),
        ]
    )


def find_embedding(model: ModelProto, vocabulary: int) -> tuple[NodeProto, int] | None:
    """Returns the Gather that looks up word embeddings and its place in the graph, None without one."""
    tables = {
        tensor.name
        for tensor in model.graph.initializer
        if len(tensor.dims) == 2 and tensor.dims[0] == vocabulary and tensor.data_type == TensorProto.FLOAT
    }
    for position, node in enumerate(model.graph.node):
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] == "input_ids":
            return node, position
    return None
