"""What the passes over activations cost: ``python -m benchmarks.activation_passes``.

Each way of making 8-bit codes of (batch, tokens, channels) activations and of multiplying them, as a graph of
its own on random numbers: microseconds, medians of interleaved rounds. ``builder/quantization`` is decided by
it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from lambda_app.cpu import available_cpus

OUTPUTS = 384
# Batch, tokens, channels: all-MiniLM-L6-v2's GELU outputs, and its hidden states.
SHAPES = ((1, 128, 1536), (16, 128, 1536), (16, 128, 384))
OPSETS = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
Constants = dict[str, NDArray[np.generic] | np.generic]
Way = Callable[[int], tuple[list[NodeProto], Constants]]


def node(operator: str, inputs: Sequence[str], output: str, **attributes: int) -> NodeProto:
    """A node with one output; operators that ONNX does not have are onnxruntime's."""
    domain = "com.microsoft" if operator == "MatMulIntegerToFloat" else ""
    return helper.make_node(operator, list(inputs), [output], domain=domain, **attributes)


def product(step: str) -> NodeProto:
    """The product of codes."""
    return node("MatMulIntegerToFloat", ["codes", "weight", step, "steps", "zero"], "y")


def constant(_width: int) -> tuple[list[NodeProto], Constants]:
    """One constant step."""
    return [node("QuantizeLinear", ["x", "step", "zero"], "codes"), product("step")], {}


def smoothed(_width: int) -> tuple[list[NodeProto], Constants]:
    """Smoothing factors in a Mul, then one constant step."""
    return [
        node("Mul", ["x", "factors"], "smooth"),
        node("QuantizeLinear", ["smooth", "step", "zero"], "codes"),
        product("step"),
    ], {}


def fused(_width: int) -> tuple[list[NodeProto], Constants]:
    """Smoothing factors in the steps of a QuantizeLinear for each channel."""
    return [node("QuantizeLinear", ["x", "wide", "zeros"], "codes", axis=2), product("step")], {}


def by_token(*, one_sided: bool, floor: bool, rows: int = 1) -> Way:
    """A step for each token, as blocks as wide as the row; ``rows`` products share it or have their own."""

    def way(width: int) -> tuple[list[NodeProto], Constants]:
        nodes = [node("ReduceMax", ["x", "axes"], "high", keepdims=1)]
        largest = ["high"]
        if not one_sided:
            nodes += [
                node("ReduceMin", ["x", "axes"], "low", keepdims=1),
                node("Neg", ["low"], "depth"),
            ]
            largest.append("depth")
        if floor or not one_sided:
            nodes.append(node("Max", [*largest, *(["floor"] if floor else [])], "reach"))
        else:
            nodes.append(node("Identity", ["high"], "reach"))
        nodes.append(node("Mul", ["reach", "share"], "row"))
        quantize = node("QuantizeLinear", ["x", "row", "row_zeros"], "codes", axis=-1, block_size=width)
        return [*nodes, quantize, product("row")], {}

    return way


def divided(_width: int) -> tuple[list[NodeProto], Constants]:
    """Each row divided by its largest value, a constant step, and the product multiplied back."""
    return [
        node("Abs", ["x"], "size"),
        node("ReduceMax", ["size", "axes"], "high", keepdims=1),
        node("Max", ["high", "floor"], "reach"),
        node("Div", ["x", "reach"], "even"),
        node("QuantizeLinear", ["even", "step", "zero"], "codes"),
        helper.make_node(
            "MatMulIntegerToFloat",
            ["codes", "weight", "step", "steps", "zero"],
            ["p"],
            domain="com.microsoft",
        ),
        node("Mul", ["p", "reach"], "y"),
    ], {}


def twice(way: Way) -> Way:
    """The same input for two products, each with a step of its own."""

    def both(width: int) -> tuple[list[NodeProto], Constants]:
        nodes, _ = way(width)
        again = []
        for one in nodes:
            other = onnx.NodeProto.FromString(one.SerializeToString())
            other.output[0] += "_2"
            made = {name for each in nodes for name in each.output}
            other.input[:] = [f"{name}_2" if name in made else name for name in other.input]
            again.append(other)
        return [*nodes, *again], {}

    return both


def shared(way: Way) -> Way:
    """The same input for two products that share its codes."""

    def both(width: int) -> tuple[list[NodeProto], Constants]:
        nodes, _ = way(width)
        other = onnx.NodeProto.FromString(nodes[-1].SerializeToString())
        other.output[0] += "_2"
        return [*nodes, other], {}

    return both


_TWO_SIDED = by_token(one_sided=False, floor=True)
WAYS: dict[str, Way] = {
    "a constant step": constant,
    "smoothing factors in a Mul, a constant step": smoothed,
    "smoothing factors fused: a step for each channel": fused,
    "a step for each token, one-sided (GELU)": by_token(one_sided=True, floor=True),
    "the same without Max": by_token(one_sided=True, floor=False),
    "a step for each token, two-sided (attention)": _TWO_SIDED,
    "the same without the floor in Max": by_token(one_sided=False, floor=False),
    "rows divided by their largest value, and multiplied back": divided,
    "two products that share the codes of a step for each token": shared(_TWO_SIDED),
    "two products with codes of their own": twice(_TWO_SIDED),
}


def session(way: Way, batch: int, tokens: int, width: int) -> onnxruntime.InferenceSession:
    """A session over one way."""
    nodes, _ = way(width)
    rng = np.random.default_rng(1)
    constants: Constants = {
        "weight": rng.integers(-64, 64, (width, OUTPUTS), np.int8),
        "steps": np.full(OUTPUTS, 0.01, np.float32),
        "step": np.float32(0.02),
        "zero": np.uint8(128),
        "wide": np.full(width, 0.02, np.float32),
        "zeros": np.full(width, 128, np.uint8),
        "factors": np.full(width, 1.1, np.float32),
        "axes": np.array([-1], np.int64),
        "floor": np.float32(1e-4),
        "share": np.float32(1 / 127),
        "row_zeros": np.full((batch, tokens, 1), 128, np.uint8),
    }
    used = {name for one in nodes for name in one.input}
    graph = helper.make_graph(
        nodes,
        "passes",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, tokens, width])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
            for one in nodes
            for name in one.output
            if name in ("y", "y_2")
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items() if name in used],
    )
    model = helper.make_model(graph, opset_imports=OPSETS, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = available_cpus()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds: int = parser.parse_args().rounds
    rng = np.random.default_rng(2)
    columns = []
    for batch, tokens, width in SHAPES:
        x = rng.normal(size=(batch, tokens, width)).astype(np.float32)
        sessions = {name: session(way, batch, tokens, width) for name, way in WAYS.items()}
        seconds: dict[str, list[float]] = {name: [] for name in WAYS}
        for number in range(rounds + 5):
            for name, one in sessions.items():
                began = time.perf_counter()
                one.run(None, {"x": x})
                if number >= 5:
                    seconds[name].append(time.perf_counter() - began)
        columns.append({name: 1e6 * statistics.median(some) for name, some in seconds.items()})
    names = [f"{batch}x{tokens}, {width} channels" for batch, tokens, width in SHAPES]
    print("| µs, the product included | " + " | ".join(names) + " |\n" + "|---" * (len(SHAPES) + 1) + "|")
    for name in WAYS:
        print(f"| {name} | " + " | ".join(f"{column[name]:.0f}" for column in columns) + " |")


if __name__ == "__main__":
    main()
