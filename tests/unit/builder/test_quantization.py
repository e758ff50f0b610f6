"""The pieces of quantization on arrays and graphs whose answers are known."""

import math
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from builder.errors import ExportError
from builder.graph.products import Product
from builder.graph.reference import Reference, load_torch_model
from builder.graph.residual_bias import move_biases
from builder.parity.data import load_rankings, load_texts
from builder.quantization.activation_scale import choose_scale
from builder.quantization.calibration import Activation, calibration_texts
from builder.quantization.integer_nodes import Rounded, write_products
from builder.quantization.rounding import BlockGrid, ChannelLimits, CompensatedRounding, round_to_nearest
from builder.quantization.schemes import check_machine
from builder.quantization.smoothing import find_factors
from lambda_app.bundle import Bundle
from lambda_app.models.embedder import Embedder
from tests.support.builds import build_bundle
from tests.support.tiny_models import MAX_TOKENS
from tests.support.tiny_sources import TinySources

TOKENS, CHANNELS, OUTPUTS = 400, 48, 96
SEVEN = ChannelLimits(127, pairs=128)


@pytest.fixture(scope="module")
def activation() -> Activation:
    """Channels that go together, two of them with outliers."""
    random = np.random.default_rng(1)
    mixing = random.normal(size=(12, CHANNELS))
    rows = (random.normal(size=(TOKENS, 12)) @ mixing).astype(np.float32)
    rows[:, 5] *= 60
    rows[::50, 9] += 200
    return Activation(rows)


@pytest.fixture(scope="module")
def weight() -> NDArray[np.float32]:
    return np.random.default_rng(2).normal(size=(CHANNELS, OUTPUTS)).astype(np.float32)


def error(activation: Activation, weight: NDArray[np.float32], factors: NDArray[np.float32]) -> float:
    rows, scaled = activation.rows / factors, weight * factors[:, None]
    scales = SEVEN.scales(scaled)
    found = choose_scale(rows, per_token=False)(rows) @ (round_to_nearest(scaled, scales, SEVEN) * scales)
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
    few = ChannelLimits(7)
    scales = few.scales(weight)
    plain = round_to_nearest(weight, scales, few)
    codes = CompensatedRounding(activation.rows)(weight, scales, few.bounds)
    assert np.abs(codes).max() <= 7
    exact = activation.rows @ weight
    errors = [np.square(exact - activation.rows @ (one * scales)).sum() for one in (plain, codes)]
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("channels", [CHANNELS, CHANNELS - 1])
def test_two_neighbouring_weights_fit_sixteen_bits(activation: Activation, channels: int) -> None:
    """255 * 128 = 32640; a single weight may use all 8 bits, so that steps are finer than 7 bits have."""
    weight = np.random.default_rng(4).standard_t(4, size=(channels, OUTPUTS)).astype(np.float32)
    scales = SEVEN.scales(weight)
    codes = CompensatedRounding(activation.rows[:, :channels])(weight, scales, SEVEN.bounds)
    padded = np.pad(codes, ((0, channels % 2), (0, 0))).reshape(-1, 2, OUTPUTS)
    assert np.maximum(padded, 0).sum(axis=1).max() <= 128
    assert np.maximum(-padded, 0).sum(axis=1).max() <= 128
    assert np.abs(codes).max() > 100
    assert scales.mean() < 0.85 * ChannelLimits(64).scales(weight).mean()


def gelu_like(random: np.random.Generator) -> NDArray[np.float32]:
    """Rows of very different sizes, hardly negative."""
    rows = random.normal(size=(TOKENS, CHANNELS)) * random.lognormal(1, 1, size=(TOKENS, 1))
    return np.maximum(rows, -0.17).astype(np.float32)


def test_the_scale_of_a_tensor_follows_from_its_rows() -> None:
    random = np.random.default_rng(5)
    even = random.normal(size=(TOKENS, CHANNELS)).astype(np.float32)
    even /= np.linalg.norm(even, axis=1, keepdims=True)
    static = choose_scale(even)
    assert not static.per_token
    # Values a little beyond the calibration texts' are held, too.
    assert -static.zero * static.step <= 1.02 * even.min()
    assert (255 - static.zero) * static.step >= 1.02 * even.max()
    gelu = choose_scale(gelu_like(random))
    assert (gelu.per_token, gelu.one_sided) == (True, True)
    # Nearly all codes are for positive values.
    assert gelu.zero < 40
    attention = choose_scale(even * random.lognormal(0, 1, size=(TOKENS, 1)).astype(np.float32))
    assert (attention.per_token, attention.one_sided, attention.zero) == (True, False, 128)


@pytest.mark.parametrize("kind", ["static", "token", "one-sided"])
@pytest.mark.parametrize("follower", ["Add", "BiasGelu", "nothing"])
def test_products_are_computed_as_they_were_quantized(
    kind: str, follower: str, weight: NDArray[np.float32]
) -> None:
    random = np.random.default_rng(6)
    rows = random.normal(size=(TOKENS, CHANNELS)).astype(np.float32)
    if kind == "one-sided":
        rows = gelu_like(random)
    scale = choose_scale(rows, per_token=kind != "static")
    assert scale.one_sided == (kind == "one-sided")
    steps = SEVEN.scales(weight)
    codes = round_to_nearest(weight, steps, SEVEN)
    bias = random.normal(size=OUTPUTS).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["sums"], "product")]
    if follower == "Add":
        nodes.append(helper.make_node("Add", ["bias", "sums"], ["y"], "after"))
    elif follower == "BiasGelu":
        nodes.append(helper.make_node("BiasGelu", ["sums", "bias"], ["y"], "after", domain="com.microsoft"))
    else:
        nodes[0].output[0] = "y"
    graph = helper.make_graph(
        nodes,
        "product",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"]),
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", CHANNELS]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", OUTPUTS])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(bias, "bias")],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    product = Product("product", "MatMul", "x", "w", CHANNELS, OUTPUTS)
    write_products(model, [product], {"x": scale}, {"w": Rounded(codes, steps)})
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ids = np.zeros((4, TOKENS // 4), np.int64)
    (found,) = session.run(None, {"x": rows.reshape(4, -1, CHANNELS), "input_ids": ids})
    expected = scale(rows) @ (codes * steps)
    if follower != "nothing":
        expected = expected + bias
    if follower == "BiasGelu":
        expected = expected * (1 + np.vectorize(math.erf)(expected / math.sqrt(2))) / 2
    found = found.reshape(TOKENS, OUTPUTS)
    # A value half-way between two steps may go either way.
    assert np.isclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()).mean() > 0.99


def test_biases_move_into_the_normalization_before_them() -> None:
    random = np.random.default_rng(7)

    def constant(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)

    graph = helper.make_graph(
        [
            helper.make_node("LayerNormalization", ["x", "gamma", "beta"], ["normal"]),
            helper.make_node("MatMul", ["normal", "up"], ["raised"]),
            helper.make_node("Add", ["raised", "up_bias"], ["biased"]),
            helper.make_node("Relu", ["biased"], ["active"]),
            helper.make_node("MatMul", ["active", "down"], ["lowered"]),
            helper.make_node("Add", ["down_bias", "lowered"], ["term"]),
            helper.make_node("Add", ["term", "normal"], ["y"]),
        ],
        "block",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "seq", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", "seq", 8])],
        [
            constant("gamma", 8),
            constant("beta", 8),
            constant("up", 8, 16),
            constant("up_bias", 16),
            constant("down", 16, 8),
            constant("down_bias", 8),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    x = random.normal(size=(2, 5, 8)).astype(np.float32)

    def run() -> NDArray[np.float32]:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        result: NDArray[np.float32] = session.run(None, {"x": x})[0]
        return result

    before = run()
    assert move_biases(model) == 1
    assert [node.op_type for node in model.graph.node].count("Add") == 2
    np.testing.assert_allclose(run(), before, rtol=1e-4, atol=1e-5)
    assert move_biases(model) == 0


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
