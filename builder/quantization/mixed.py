"""A scheme for each product: INT8 where that does little harm, finer where the final answers need it.

Every product starts as ``int8``. On some calibration texts each is made finer alone, and what that brings the
model's output nearer to FP32, for the weights it slows down, says which are made finer first: as many as it
takes to keep the fidelity that is asked for. MatMul becomes ``int8-block``; Attention, which is one node with
its projections, ``fp32``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from builder.errors import ConfigError
from builder.graph.export import save_model
from builder.graph.products import Product, find_products
from builder.quantization.activation_scale import ActivationScale
from builder.quantization.blocks import replace_with_blocks
from builder.quantization.calibration import Batch
from builder.quantization.int8 import quantize_int8

INT8, BLOCK, FP32 = "int8", "int8-block", "fp32"
FINER = {"MatMul": BLOCK, "Attention": FP32}
# Texts that decide which product comes first; whether the fidelity is met is measured on all of them.
_SEARCH_BATCHES = 6

Assignment = dict[str, str]


@dataclass(slots=True)
class MixedQuantizer:
    """Quantizes one model with a scheme for each product.

    ``replay`` is an assignment that was found before (products it leaves out are ``int8``). Without one, an
    assignment is searched for that keeps ``min_fidelity`` (see :func:`fidelity`) on the calibration texts.
    ``assignment`` is the result, ``reached`` its fidelity.
    """

    min_fidelity: float
    bits: int
    replay: Mapping[str, str] | None = None
    note: Callable[[str], None] = lambda _text: None
    assignment: Assignment = field(default_factory=dict)
    reached: float = 0.0

    def __call__(self, source: Path, target: Path, batches: Sequence[Batch]) -> dict[str, ActivationScale]:
        """Reads the fused FP32 graph from one file and writes the quantized one to another.

        Raises:
            ConfigError: ``replay`` names a product that the graph does not have, or gives it a scheme that
                it cannot have.
        """
        coarse = source.with_name("coarse.onnx")
        # No product is left in FP32 for its error alone: what stays fine is decided here.
        result = quantize_int8(source, coarse, batches, bits=self.bits, keep_coarse=True)
        smoothed = result.smoothed
        products = find_products(onnx.load(str(smoothed), load_external_data=False))
        finer = source.with_name("finer.onnx")
        fine = onnx.load(str(smoothed))
        matmuls = [product for product in products if FINER[product.operator] == BLOCK]
        replace_with_blocks(fine, matmuls, smoothed, batches, bits=8)
        save_model(fine, finer)
        graphs = _Graphs(coarse, finer, {product.name for product in products})
        if self.replay is not None:
            chosen = _replayed(self.replay, products)
        else:
            chosen = self._search(source, graphs, products, batches)
        self.assignment = {
            product.name: FINER[product.operator] if product.name in chosen else INT8 for product in products
        }
        graphs.write(chosen, target)
        coarse_inputs = {product.input for product in products if product.name not in chosen}
        return {name: scale for name, scale in result.scales.items() if name in coarse_inputs}

    def _search(
        self, source: Path, graphs: _Graphs, products: Sequence[Product], batches: Sequence[Batch]
    ) -> set[str]:
        few = batches[:: max(1, len(batches) // _SEARCH_BATCHES)]
        exact, all_exact = _outputs(source, few), _outputs(source, batches)

        def measured(names: set[str], on: Sequence[Batch], expected: NDArray[np.float32]) -> float:
            path = source.with_name("trial.onnx")
            graphs.write(names, path)
            return fidelity(expected, _outputs(path, on))

        before = measured(set(), few, exact)
        gains = {
            product.name: (measured({product.name}, few, exact) - before) / product.size
            for product in products
        }
        chosen: set[str] = set()
        self.reached = measured(chosen, batches, all_exact)
        for name in sorted(gains, key=lambda name: -gains[name]):
            if self.reached >= self.min_fidelity:
                break
            chosen.add(name)
            self.reached = measured(chosen, batches, all_exact)
        # What came first may not be needed beside what came later; the largest would gain the most speed.
        for product in sorted(products, key=lambda product: -product.size):
            if product.name in chosen and self.reached > self.min_fidelity:
                without = measured(chosen - {product.name}, batches, all_exact)
                if without >= self.min_fidelity:
                    chosen.remove(product.name)
                    self.reached = without
        met = "" if self.reached >= self.min_fidelity else f", less than the {self.min_fidelity:g} asked for"
        self.note(
            f"mixed: {len(chosen)} of {len(products)} products finer than int8, "
            f"fidelity {self.reached:.5f} on the calibration texts{met}"
        )
        return chosen


def replay(task: str, assignment: Mapping[str, str]) -> str:
    """Returns an assignment as the config takes it; products that are not named are ``int8``."""
    finer = [f'"{name}" = "{scheme}"' for name, scheme in assignment.items() if scheme != INT8]
    return "\n".join(
        [f"# in the config, this makes the same choice without a search:\n[mixed.{task}]", *finer]
    )


def fidelity(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Returns how near answers are to FP32's.

    For an embedder it is the mean cosine of each text's two vectors, for a cross-encoder the correlation of
    its logits.
    """
    if expected.ndim == 2 and expected.shape[1] > 1:
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        return float(((expected * found).sum(axis=1) / np.maximum(lengths, 1e-12)).mean())
    one, other = (value.reshape(-1) - value.mean() for value in (expected, found))
    return float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12))


class _Graphs:
    """A coarse and a fine graph whose products have outputs of the same names, and mixtures of the two."""

    def __init__(self, coarse: Path, finer: Path, names: set[str]) -> None:
        self._coarse, self._finer = onnx.load(str(coarse)), onnx.load(str(finer))
        self._nodes = {node.name: node for node in self._finer.graph.node if node.name in names}

    def write(self, chosen: set[str], target: Path) -> None:
        """The coarse graph with the products named in ``chosen`` taken from the fine one."""
        mixed = ModelProto()
        mixed.CopyFrom(self._coarse)
        replaced = {node.output[0]: node for name, node in self._nodes.items() if name in chosen}
        nodes = [replaced.get(node.output[0], node) for node in mixed.graph.node]
        nodes = _needed(nodes, [output.name for output in mixed.graph.output])
        copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del mixed.graph.node[:]
        mixed.graph.node.extend(copies)
        used = {name for node in copies for name in node.input}
        tensors = {tensor.name: tensor for tensor in self._finer.graph.initializer}
        tensors |= {tensor.name: tensor for tensor in self._coarse.graph.initializer}
        del mixed.graph.initializer[:]
        mixed.graph.initializer.extend(tensor for name, tensor in tensors.items() if name in used)
        for entry in self._finer.opset_import:
            if not any(entry.domain == other.domain for other in mixed.opset_import):
                mixed.opset_import.append(entry)
        save_model(mixed, target)


def _needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """Without those of which nothing is read."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            kept.append(node)
            wanted.update(node.input)
    return kept[::-1]


def _outputs(graph: Path, batches: Sequence[Batch]) -> NDArray[np.float32]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    wanted = [value.name for value in session.get_inputs()]
    return np.concatenate([session.run(None, {name: batch[name] for name in wanted})[0] for batch in batches])


def _replayed(replay: Mapping[str, str], products: Sequence[Product]) -> set[str]:
    allowed = {product.name: (INT8, FINER[product.operator]) for product in products}
    for name, scheme in replay.items():
        if name not in allowed:
            raise ConfigError(f"[mixed]: the model has no product {name!r} (it has {', '.join(allowed)})")
        if scheme not in allowed[name]:
            raise ConfigError(f"[mixed]: {name!r} is {scheme!r}, expected {' or '.join(allowed[name])}")
    return {name for name, scheme in replay.items() if scheme != INT8}
