"""A graph in pieces that run one after another, so that each is opened once and only its weights are read.

What one piece hands to those behind it, beside what is asked for, is whatever the latter read of it: the
residual stream and the attention mask, where a cut is between two layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto, helper

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Some nodes of a graph, in an order in which they run.

    ``wanted`` are the tensors asked for that they make, ``left`` those that later pieces read.
    """

    nodes: tuple[NodeProto, ...]
    wanted: tuple[str, ...]
    left: tuple[str, ...]


def cut(graph: GraphProto, sizes: Mapping[str, int], budget: int) -> list[Piece]:
    """Cuts a graph into pieces that make the tensors in ``sizes``, each no more of them than ``budget``.

    A single one may be larger. Nodes that none of these tensors needs are in no piece.
    """
    nodes = in_order(graph.node, sizes)
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    constants = {tensor.name for tensor in graph.initializer}
    reads = {
        name: place for place, node in enumerate(nodes) for name in _reads(node) if name not in constants
    }

    def left(end: int) -> tuple[str, ...]:
        """What the first ``end`` nodes leave to the others."""
        return tuple(name for name, read in reads.items() if read >= end > makers.get(name, -1))

    pieces: list[Piece] = []
    start = 0
    names = sorted(sizes, key=lambda name: makers[name])
    while names:
        count = 1
        while count < len(names) and sum(sizes[name] for name in names[: count + 1]) <= budget:
            count += 1
        wanted, names = names[:count], names[count:]
        first = makers[wanted[-1]] + 1
        end = min(range(first, makers[names[0]] + 1), key=lambda end: len(left(end))) if names else first
        pieces.append(Piece(tuple(nodes[start:end]), tuple(wanted), left(end)))
        start = end
    return pieces


def run(
    path: Path, model: ModelProto, pieces: Sequence[Piece], batches: Sequence[Mapping[str, NDArray[Any]]]
) -> Iterator[tuple[Piece, Iterator[Values]]]:
    """Runs pieces of a graph on all batches; gives each piece and what it makes of each batch.

    ``model`` is without weights, as it was read from ``path``. What a piece makes has to be taken before the
    next one.
    """
    values: list[Values] = [dict(batch) for batch in batches]
    for piece in pieces:
        session = _session(path, model, piece, values[0])
        yield piece, _run(session, piece, values)
        del session


def _run(session: onnxruntime.InferenceSession, piece: Piece, values: list[Values]) -> Iterator[Values]:
    reads = [value.name for value in session.get_inputs()]
    makes = [value.name for value in session.get_outputs()]
    for place, known in enumerate(values):
        made = dict(zip(makes, session.run(makes, {name: known[name] for name in reads}), strict=True))
        values[place] = {name: made[name] if name in made else known[name] for name in piece.left}
        yield {name: made[name] for name in piece.wanted}


def _session(path: Path, model: ModelProto, piece: Piece, known: Values) -> onnxruntime.InferenceSession:
    """A session over a piece; the weights' file is the whole graph's."""
    read = {name for node in piece.nodes for name in _reads(node)}
    made = {name for node in piece.nodes for name in node.output}
    constants = [tensor for tensor in model.graph.initializer if tensor.name in read]
    inputs = read.intersection(known).difference(tensor.name for tensor in constants)
    # onnxruntime finds the types of outputs.
    outputs = dict.fromkeys([*piece.wanted, *(name for name in piece.left if name in made)])
    part = helper.make_model(
        helper.make_graph(
            piece.nodes,
            "piece",
            [_described(name, known[name]) for name in sorted(inputs)],
            [ValueInfoProto(name=name) for name in outputs],
            constants,
        ),
        ir_version=model.ir_version,
        opset_imports=model.opset_import,
    )
    file = path.with_name(f"{path.stem}.piece.onnx")
    file.write_bytes(part.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Batches have different shapes: memory of one is not kept for the next.
    options.enable_mem_pattern = False
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    file.unlink()
    return session


def _described(name: str, value: NDArray[Any]) -> ValueInfoProto:
    sizes = [f"{name}_{axis}" for axis in range(value.ndim)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), sizes)


def in_order(nodes: Sequence[NodeProto], names: Iterable[str]) -> list[NodeProto]:
    """Returns the nodes that make some tensors, each as late as those that read it allow."""
    makers = {name: place for place, node in enumerate(nodes) for name in node.output if name}
    done: dict[int, None] = {}
    stack = [makers[name] for name in names][::-1]
    while stack:
        needed = {makers[name] for name in _reads(nodes[stack[-1]]) if name in makers}
        missing = needed - done.keys()
        if missing:
            stack.extend(sorted(missing, reverse=True))
        else:
            done.setdefault(stack.pop())
    return [nodes[place] for place in done]


def _reads(node: NodeProto) -> Iterator[str]:
    """The tensors that a node reads, in the graphs of its attributes too."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for inner in attribute.g.node:
            yield from _reads(inner)
