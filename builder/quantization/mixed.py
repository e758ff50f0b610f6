"""A scheme for each product: INT8 where that does little harm, finer where the final answers need it.

Every product starts as ``int8``. On some calibration texts each is made finer alone, and what that brings the
model's output nearer to FP32, for the weights it slows down, says which are made finer first: as many as it
takes to keep the fidelity and the neighbours that are asked for. MatMul becomes ``int8-block``; Attention,
which is one node with its projections, ``fp32``.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from builder.config.schema import Mixed
from builder.errors import ConfigError
from builder.graph.export import save_model
from builder.graph.pieces import in_order
from builder.graph.products import Product, find_products
from builder.parity.fidelity import compare_vectors
from builder.quantization.activation_scale import ActivationScale
from builder.quantization.blocks import replace_with_blocks
from builder.quantization.calibration import Batch
from builder.quantization.int8 import quantize_int8

INT8, BLOCK, FP32 = "int8", "int8-block", "fp32"
FINER = {"MatMul": BLOCK, "Attention": FP32}
# Texts that decide which product comes first; whether the fidelity is met is measured on all of them.
_SEARCH_BATCHES = 3

Assignment = dict[str, str]


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near answers are to FP32's, see :func:`fidelity`; ``overlap`` is None for a cross-encoder."""

    cosine: float
    overlap: float | None = None

    def meets(self, asked: Fidelity) -> bool:
        """Returns whether it is at least what was asked for."""
        near = self.overlap is None or asked.overlap is None or self.overlap >= asked.overlap
        return near and self.cosine >= asked.cosine

    def __str__(self) -> str:
        """Returns it as the build prints it."""
        overlap = "" if self.overlap is None else f" and top-10 overlap {self.overlap:.4g}"
        return f"fidelity {self.cosine:.6g}{overlap}"


@dataclass(slots=True)
class MixedQuantizer:
    """Quantizes one model with a scheme for each product.

    ``replay`` is an assignment that was found before (products it leaves out are ``int8``). Without one, an
    assignment is searched for that reaches what is ``asked`` for on the calibration texts. ``assignment`` is
    the result, ``reached`` its fidelity.
    """

    asked: Fidelity
    bits: int
    replay: Mapping[str, str] | None = None
    note: Callable[[str], None] = lambda _text: None
    assignment: Assignment = field(default_factory=dict)
    reached: Fidelity = Fidelity(0)

    def __call__(
        self,
        source: Path,
        target: Path,
        batches: Sequence[Batch],
        recorded: Mapping[str, ActivationScale] | None = None,
    ) -> dict[str, ActivationScale]:
        """Reads the fused FP32 graph from one file and writes the quantized one to another.

        Raises:
            ConfigError: ``replay`` names a product that the graph does not have, or gives it a scheme that
                it cannot have.
        """
        coarse = source.with_name("coarse.onnx")
        # No product is left in FP32 for its error alone: what stays fine is decided here.
        result = quantize_int8(source, coarse, batches, bits=self.bits, keep_coarse=True, recorded=recorded)
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
        exact = {id(on): _outputs(source, on) for on in (few, batches)}

        def measured(names: Collection[str], on: Sequence[Batch] = batches) -> Fidelity:
            path = source.with_name("trial.onnx")
            graphs.write(set(names), path)
            return fidelity(exact[id(on)], _outputs(path, on))

        def met(names: Collection[str]) -> bool:
            self.reached = measured(names)
            return self.reached.meets(self.asked)

        before = measured((), few)
        gains = {
            product.name: (measured({product.name}, few).cosine - before.cosine) / product.size
            for product in products
        }
        order = sorted(gains, key=lambda name: -gains[name])
        count = bisect.bisect_left(range(len(order)), True, key=lambda count: met(order[:count]))
        chosen = set(order[:count])
        # What came first may not be needed beside what came later; the largest would gain the most speed.
        for product in sorted(products, key=lambda product: -product.size):
            if count < len(order) and product.name in chosen and met(chosen - {product.name}):
                chosen.remove(product.name)
        enough = met(chosen)
        self.note(
            f"mixed: {len(chosen)} of {len(products)} products finer than int8, "
            f"{self.reached} on the calibration texts"
            + ("" if enough else f", less than the {self.asked} asked for")
        )
        return chosen


def replay(task: str, assignment: Mapping[str, str]) -> str:
    """Returns an assignment as the config takes it; products that are not named are ``int8``."""
    finer = [f'"{name}" = "{scheme}"' for name, scheme in assignment.items() if scheme != INT8]
    return "\n".join(
        [f"# in the config, this makes the same choice without a search:\n[mixed.{task}]", *finer]
    )


def advice(mixed: Mixed, task: str) -> str:
    """Returns what to change in the config when a model misses the gate's thresholds."""
    if task in mixed.assignments:
        return f"leave [mixed.{task}] out, so that products are chosen anew"
    higher = 1 - (1 - mixed.min_fidelity) / 2
    return f"raise min_fidelity in [mixed], from {mixed.min_fidelity:g} to {higher:.6g} for instance"


def fidelity(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Fidelity:
    """Returns how near answers are to FP32's.

    For an embedder that is the mean centred cosine of each text's two vectors and the share of its ten
    nearest texts that are the same, for a cross-encoder the correlation of its logits.
    """
    if expected.ndim == 2 and expected.shape[1] > 1:
        figures = compare_vectors(expected, found)
        return Fidelity(figures["mean_centred_cosine"], figures["top10_overlap"])
    one, other = (value.reshape(-1) - value.mean() for value in (expected, found))
    return Fidelity(float(one @ other / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-12)))


class _Graphs:
    """A coarse and a fine graph whose products have outputs of the same names, and mixtures of the two."""

    def __init__(self, coarse: Path, finer: Path, names: set[str]) -> None:
        self._coarse, self._finer = onnx.load(str(coarse)), onnx.load(str(finer))
        self._nodes = {node.name: node for node in self._finer.graph.node if node.name in names}

    def write(self, chosen: set[str], target: Path) -> None:
        """The coarse graph with the products named in ``chosen`` taken from the fine one.

        What reads such a product comes from there, too: in the coarse graph a product may have its bias.
        Another product that reads it (the projection behind Attention) stays as it was chosen.
        """
        mixed = ModelProto()
        mixed.CopyFrom(self._coarse)
        outputs = {node.output[0] for name, node in self._nodes.items() if name in chosen}
        finer = [
            node
            for node in self._finer.graph.node
            if outputs.intersection(node.output)
            or (outputs.intersection(node.input) and node.name not in self._nodes)
        ]
        replaced = {name for node in finer for name in node.output}
        rest = [node for node in mixed.graph.node if not replaced.intersection(node.output)]
        nodes = in_order([*rest, *finer], [output.name for output in mixed.graph.output])
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
