"""The pieces of quantization on arrays and graphs whose answers are known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from model_build.calibration import Activation, calibration_texts
from model_build.parity import load_rankings, load_texts
from model_build.rounding import CompensatedRounding, channel_scales, round_to_nearest
from model_build.smoothing import find_factors, quantize_activation

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


def test_factors_take_most_of_the_error_away(activation: Activation, weight: NDArray[np.float32]) -> None:
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
    codes = CompensatedRounding(activation.rows)(weight, scales, 7)
    assert np.abs(codes).max() <= 7
    exact = activation.rows @ weight
    errors = [np.square(exact - activation.rows @ (one * scales)).sum() for one in (plain, codes)]
    assert errors[1] < 0.5 * errors[0]


def test_activations_are_quantized_as_onnxruntime_does(activation: Activation) -> None:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper

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
