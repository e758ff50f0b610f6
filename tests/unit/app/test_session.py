"""Sessions over mapped weights: repacked when the work is worth it, with the same answers."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.errors import BundleError, InferenceError
from lambda_app.models.session import Session, open_session


@pytest.fixture
def model(tiny_bundle: Bundle) -> ModelInfo:
    assert tiny_bundle.embedding is not None
    return tiny_bundle.embedding


def inputs(tokens: int = 8) -> dict[str, np.ndarray]:
    return {
        "input_ids": np.arange(5, 5 + tokens, dtype=np.int64)[None],
        "attention_mask": np.ones((1, tokens), np.int64),
    }


def test_repacking_waits_for_enough_work_and_changes_no_answer(model: ModelInfo) -> None:
    session = open_session(model, threads=1, repack_tokens=100)
    lean = session._session
    before = session.run(inputs())
    session.expect(60)
    assert session._session is lean
    session.expect(60)
    repacked = session._session
    assert repacked is not lean
    assert session.run(inputs()) == pytest.approx(before, abs=1e-6)
    session.expect(1_000_000)
    assert session._session is repacked


def test_threads_wait_for_work_only_behind_the_cold_start_and_only_for_a_moment(model: ModelInfo) -> None:
    def spinning(session: Session) -> tuple[str, int]:
        options = session._session.get_session_options()
        names = ("session.intra_op.allow_spinning", "session.intra_op.spin_duration_us")
        allowed, duration = (options.get_session_config_entry(name) for name in names)
        return allowed, int(duration)

    session = open_session(model, threads=2, repack_tokens=0)
    assert spinning(session)[0] == "0"
    assert spinning(open_session(model, threads=2, prepack=True))[0] == "1"
    session.expect(1)
    allowed, duration = spinning(session)
    assert allowed == "1"
    assert duration <= 100
    session.run(inputs())
    before = time.process_time()
    time.sleep(0.1)
    assert time.process_time() - before < 0.02


@pytest.mark.parametrize(("prepack", "tokens"), [(None, None), (True, 0)])
def test_a_session_that_need_not_be_repacked_stays(
    model: ModelInfo, prepack: bool | None, tokens: int | None
) -> None:
    session = open_session(model, threads=1, prepack=prepack, repack_tokens=tokens)
    first = session._session
    session.expect(1_000_000)
    assert session._session is first


def test_a_session_that_cannot_be_repacked_keeps_serving(tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle.directory, tmp_path / "bundle")
    model = Bundle.open(copy).embedding
    assert model is not None
    warnings: list[tuple[str, str]] = []
    session = open_session(
        model, threads=1, prepack=False, repack_tokens=1, warn=lambda *line: warnings.append(line)
    )
    before = session.run(inputs())
    model.graph_path.write_bytes(b"damaged")
    session.expect(100)
    assert session.run(inputs()) == pytest.approx(before)
    ((event, message),) = warnings
    assert event == "repack_failed"
    assert "embedding/model.onnx" in message
    assert str(tmp_path) not in message
    session.expect(100)
    assert len(warnings) == 1


def test_weights_that_cannot_be_mapped_are_an_invalid_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_bundle.directory, tmp_path / "bundle")
    model = Bundle.open(copy).embedding
    assert model is not None
    outside = model._replace(tensors=(model.tensors[0]._replace(offset=10**9), *model.tensors[1:]))
    for damaged in (
        outside,
        model._replace(tensors=(model.tensors[0]._replace(dtype="no dtype"), *model.tensors[1:])),
        model._replace(tensors=(model.tensors[0]._replace(shape=(7, 7, 7)), *model.tensors[1:])),
    ):
        with pytest.raises(BundleError, match="cannot be mapped") as caught:
            open_session(damaged, threads=1)
        assert str(tmp_path) not in caught.value.message


def test_what_is_not_finite_is_an_error(model: ModelInfo) -> None:
    session = open_session(model, threads=1)

    class NaN:
        def run(self, names: list[str], values: object) -> list[np.ndarray]:
            return [np.array([[1.0, np.nan]], np.float32)]

    session._session = NaN()
    with pytest.raises(InferenceError, match="not finite"):
        session.run(inputs())
