"""A graph that runs in pieces makes what it makes as a whole, and each piece reads its own weights only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from builder.graph.export import save_model
from builder.graph.pieces import cut, run

LAYERS, WIDTH, TEXTS = 4, 24, 3


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Layers with a residual stream and a mask that all of them read, whose nodes are in no order."""
    random = np.random.default_rng(1)
    nodes = [helper.make_node("Cast", ["mask"], ["weights"], "cast", to=TensorProto.FLOAT)]
    tensors = {"unused": np.ones(3, np.float32)}
    for layer in range(LAYERS):
        before = f"stream{layer}" if layer else "x"
        tensors[f"w{layer}"] = random.normal(size=(WIDTH, WIDTH)).astype(np.float32)
        nodes += [
            helper.make_node("MatMul", [before, f"w{layer}"], [f"product{layer}"], f"product{layer}"),
            helper.make_node("Relu", [f"product{layer}"], [f"active{layer}"], f"active{layer}"),
            helper.make_node("Mul", [f"active{layer}", "weights"], [f"masked{layer}"], f"masked{layer}"),
            helper.make_node("Add", [f"masked{layer}", before], [f"stream{layer + 1}"], f"add{layer}"),
        ]
    nodes.append(helper.make_node("Neg", [f"stream{LAYERS}"], ["y"], "end"))
    made = helper.make_graph(
        nodes[::-1],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", WIDTH]),
            helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", "seq", 1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in tensors.items()],
    )
    path = tmp_path / "graph.onnx"
    save_model(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def batches() -> list[dict[str, NDArray[np.generic]]]:
    random = np.random.default_rng(2)
    return [
        {
            "x": random.normal(size=(TEXTS, length, WIDTH)).astype(np.float32),
            "mask": random.integers(0, 2, size=(TEXTS, length, 1)),
            "unread": np.zeros((TEXTS, length), np.int64),
        }
        for length in (5, 9)
    ]


def whole(path: Path, names: list[str]) -> list[dict[str, NDArray[np.float32]]]:
    model = onnx.load(str(path))
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [
        dict(zip(names, session.run(names, {name: batch[name] for name in ("x", "mask")}), strict=True))
        for batch in batches()
    ]


@pytest.mark.parametrize(("budget", "pieces"), [(1, 6), (2, 3), (100, 1)])
def test_pieces_make_what_the_graph_makes(graph: Path, budget: int, pieces: int) -> None:
    names = ["masked1", "stream1", "product0", "stream2", "product3", "active2"]
    model = onnx.load(str(graph), load_external_data=False)
    chosen = cut(model.graph, dict.fromkeys(names, 1), budget)
    assert len(chosen) == pieces
    found: list[dict[str, NDArray[np.float32]]] = [{}, {}]
    for piece, made in run(graph, model, chosen, batches()):
        assert len(piece.wanted) <= budget
        for place, values in enumerate(made):
            assert set(values) == set(piece.wanted)
            found[place] |= values
    expected = whole(graph, names)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name in names:
            np.testing.assert_array_equal(one[name], other[name])


def test_a_piece_hands_on_little_and_no_node_is_run_twice_or_in_vain(graph: Path) -> None:
    model: ModelProto = onnx.load(str(graph), load_external_data=False)
    chosen = cut(model.graph, {f"product{layer}": 1 for layer in range(LAYERS)}, 1)
    # Behind a layer's sum, where its stream and the mask are all that is read further on.
    left = [set(piece.left) for piece in chosen]
    assert left == [{"stream1", "weights"}, {"stream2", "weights"}, {"stream3"}, set()]
    names = [node.name for piece in chosen for node in piece.nodes]
    assert len(names) == len(set(names))
    assert "end" not in names
    assert f"active{LAYERS - 1}" not in names
