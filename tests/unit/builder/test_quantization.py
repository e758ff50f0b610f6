"""The pieces of quantization on arrays and graphs whose answers are known."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ExportError
from builder.graph.reference import Reference, load_torch_model
from builder.parity.data import load_rankings, load_texts
from builder.quantization.calibration import Activation, calibration_texts
from builder.quantization.rounding import BlockGrid, CompensatedRounding, channel_scales, round_to_nearest
from builder.quantization.schemes import check_machine
from builder.quantization.smoothing import find_factors, quantize_activation
from lambda_app.bundle import Bundle
from lambda_app.models.embedder import Embedder
from tests.support.builds import build_bundle
from tests.support.tiny_models import MAX_TOKENS
from tests.support.tiny_sources import TinySources

TOKENS, CHANNELS, OUTPUTS = 400, 48, 96


@pytest.fixture(scope="module")
def activation() -> Activation:
    """Channels that go together, two of them with outliers."""
    random = np.random.default_rng(1)
    mixing = random.normal(size=(12, CHANNELS))
    rows = (random.normal(size=(TOKENS, 12)) @ mixing).astype(np.float32)
    rows[:, 5] *= 60
    rows[::50, 9] += 200
    batch = np.repeat(np.arange(4), TOKENS // 4)
    parts = rows.reshape(4, -1, CHANNELS)
    return Activation(rows, batch, parts.min(axis=1), parts.max(axis=1))


@pytest.fixture(scope="module")
def weight() -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=(CHANNELS, OUTPUTS)).astype(np.float32)


def error(activation: Activation, weight: NDArray[np.float32], factors: NDArray[np.float32]) -> float:
    scaled = weight * factors[:, None]
    scales = channel_scales(scaled, 64)
    found = quantize_activation(activation, factors) @ (round_to_nearest(scaled, scales, 64) * scales)
    return float(np.square(activation.rows @ weight - found).sum())


def test_factors_take_nearly_all_of_the_error_away(
    activation: Activation, weight: NDArray[np.float32]
) -> None:
    peak, largest = np.abs(activation.rows).max(axis=0), np.abs(weight).max(axis=1)
    formulas = [peak**power / largest ** (1 - power) for power in np.linspace(0, 1, 11)]
    found = find_factors(activation, weight, 64)
    assert np.exp(np.log(found).mean()) == pytest.approx(1, rel=1e-4)
    assert error(activation, weight, found) < 0.1 * error(activation, weight, np.ones_like(found))
    # As good as SmoothQuant's formula with an exponent that somebody searched for, or nearly.
    errors = [error(activation, weight, formula.astype(np.float32)) for formula in formulas]
    assert error(activation, weight, found) < 1.3 * min(errors)


def test_compensated_rounding_changes_products_less(
    activation: Activation, weight: NDArray[np.float32]
) -> None:
    scales = channel_scales(weight, 7)
    plain = round_to_nearest(weight, scales, 7)
    codes = CompensatedRounding(activation.rows)(weight, scales, -7, 7)
    assert np.abs(codes).max() <= 7
    exact = activation.rows @ weight
    errors = [np.square(exact - activation.rows @ (one * scales)).sum() for one in (plain, codes)]
    assert errors[1] < 0.5 * errors[0]


def test_activations_are_quantized_as_onnxruntime_does(activation: Activation) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("DynamicQuantizeLinear", ["x"], ["codes", "scale", "zero"]),
            helper.make_node("DequantizeLinear", ["codes", "scale", "zero"], ["y"]),
        ],
        "quantize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", CHANNELS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", CHANNELS])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    factors = np.linspace(0.5, 2, CHANNELS, dtype=np.float32)
    found = quantize_activation(activation, factors)
    for number in range(4):
        rows = activation.batch == number
        (expected,) = session.run(["y"], {"x": activation.rows[rows] / factors})
        step = np.ptp(activation.rows[rows] / factors) / 255
        # A value half-way between two steps may go either way.
        assert np.abs(found[rows] - expected).max() <= 1.01 * step
        assert np.isclose(found[rows], expected, atol=1e-4 * step).mean() > 0.999


def test_no_text_is_both_calibrated_on_and_judged_by() -> None:
    judged = {*load_texts(), *(text for query, documents in load_rankings() for text in (query, *documents))}
    assert len(calibration_texts()) > 200
    assert judged.isdisjoint(calibration_texts())


SCHEMES = {
    "int8-block": (8, {"MatMulNBits", "MultiHeadAttention"}, 0.999),
    "int4": (4, {"MatMulNBits", "MultiHeadAttention"}, 0.95),
    "fp16-weights": (16, {"Attention", "Cast"}, 0.9999),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme_at_tiny_size(scheme: str, tiny_sources: TinySources, tmp_path: Path) -> None:
    out = build_bundle(
        tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker, quantization=scheme
    )
    bundle = Bundle.open(out)
    bits, operators, min_cosine = SCHEMES[scheme]
    for model in bundle.models():
        assert (model.quantization.scheme, model.quantization.weight_bits) == (scheme, bits)
        graph = onnx.load(str(model.graph_path), load_external_data=False).graph
        assert operators <= {node.op_type for node in graph.node}
        # Rows of the embedding table are looked up before they become FP32.
        tables = {
            node.input[0] for node in graph.node if node.op_type == "Gather" and "input_ids" in node.input
        }
        wide = [tensor for tensor in graph.initializer if tensor.name in tables and tensor.dims[1] > 1]
        assert [tensor.data_type for tensor in wide] != []
        assert TensorProto.FLOAT not in {tensor.data_type for tensor in wide}
    embedding = bundle.embedding
    assert embedding is not None
    texts = load_texts()[:40]
    reference = Reference(
        load_torch_model(tiny_sources.embedder, "embedding"),
        tiny_sources.embedder / "tokenizer.json",
        max_tokens=MAX_TOKENS,
        pad_token_id=embedding.pad_token_id,
    )
    found = Embedder.open(embedding, threads=1).embed(texts, "none").vectors
    assert (found * reference.embed(texts, "mean")).sum(axis=1).mean() > min_cosine


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_blocks_are_packed_as_onnxruntime_reads_them(bits: int, symmetric: bool) -> None:
    random = np.random.default_rng(3)
    # Three blocks, the last one not full: odd numbers of blocks and channels are padded.
    weight = random.normal(0.3, 1, size=(70, 8)).astype(np.float32)
    grid = BlockGrid.of(weight, bits, 32, symmetric=symmetric)
    zeros = grid.zeros_by_row()
    codes = np.clip(np.rint(weight / grid.scales_by_row()) + zeros, 0, grid.max_code).astype(np.uint8)
    expected = (codes.astype(np.int16) - zeros) * grid.scales_by_row()
    assert np.abs(expected - weight).max() <= np.abs(grid.scales).max() * 1.01
    names = ["blocks", "scales", *([] if symmetric else ["zeros"])]
    parts = [grid.packed(codes), np.ascontiguousarray(grid.scales.T), grid.packed_zeros()][: len(names)]
    node = helper.make_node(
        "MatMulNBits", ["x", *names], ["y"], domain="com.microsoft", K=70, N=8, bits=bits, block_size=32
    )
    graph = helper.make_graph(
        [node],
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 70])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 8])],
        [numpy_helper.from_array(part, name) for name, part in zip(names, parts, strict=True)],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    rows = random.normal(size=(5, 70)).astype(np.float32)
    (found,) = session.run(["y"], {"x": rows})
    np.testing.assert_allclose(found, rows @ expected, atol=1e-4)


def test_vnni_needs_a_machine_that_has_it() -> None:
    check_machine("int8", "x86_64", ["avx2"])
    check_machine("int8-vnni", "x86_64", ["avx2", "avx512_vnni"])
    with pytest.raises(ExportError, match="could not be checked") as caught:
        check_machine("int8-vnni", "x86_64", ["avx2", "avx512f"])
    assert caught.value.code == "wrong_cpu"
    with pytest.raises(ExportError, match="int8 has full 8-bit weights on arm64"):
        check_machine("int8-vnni", "arm64", ["asimddp"])
