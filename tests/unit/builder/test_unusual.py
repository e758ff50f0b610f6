"""Texts unlike those that a build is calibrated on: the worst of them counts, by name."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from builder.parity import fidelity
from builder.parity import gate as parity
from builder.parity.data import load_texts
from builder.parity.unusual import unusual_scores, unusual_texts, unusual_vectors
from builder.quantization.calibration import calibration_texts
from builder.quantization.thresholds import THRESHOLDS, unusual_bounds
from lambda_app.bundle import Bundle
from tests.support.builds import tiny_config
from tests.support.tiny_sources import TinySources

Vectors = NDArray[np.float32]


def spoilt(place: int) -> Any:
    """Two models that agree on all texts but one."""

    def embed(texts: Sequence[str], _input_types: Any) -> tuple[Vectors, Vectors]:
        vectors = np.eye(len(texts), 40, dtype=np.float32)
        other = vectors.copy()
        other[place, :] = 0
        other[place, [place, 39]] = 0.6, 0.8
        return vectors, other

    return embed


def test_one_bad_text_fails_every_scheme_and_is_named() -> None:
    for place, name in enumerate(unusual_texts()):
        figures = unusual_vectors(spoilt(place))
        assert figures["unusual_cosine"] == pytest.approx(0.6)
        assert min(figures["unusual"], key=figures["unusual"].__getitem__) == name
        for thresholds in THRESHOLDS.values():
            (failure,) = fidelity.missed(figures, unusual_bounds(thresholds.embedding))
            assert failure.startswith("unusual_cosine 0.6 is below")


@pytest.mark.parametrize("query", [0, 5])
def test_one_bad_score_counts_of_a_query_too(query: int) -> None:
    def score(rankings: Any) -> tuple[list[Vectors], list[Vectors]]:
        good = [np.zeros(len(documents), np.float32) for _, documents in rankings]
        bad = [one.copy() for one in good]
        bad[query][-1] = 4.0
        return good, bad

    figures = unusual_scores(score)
    assert figures["unusual_score_difference"] == pytest.approx(0.482, abs=1e-3)
    assert len(figures["unusual"]) == len(unusual_texts())
    for thresholds in THRESHOLDS.values():
        assert len(fidelity.missed(figures, unusual_bounds(thresholds.reranker))) == 1


def test_no_text_is_calibrated_on() -> None:
    assert not set(unusual_texts().values()) & {*calibration_texts(), *load_texts()}


def test_the_gate_measures_them(tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path) -> None:
    config = tiny_config(tmp_path, embedding=tiny_sources.embedder)
    assert config.embedding is not None
    bounds = replace(config.thresholds.embedding, min_unusual_cosine=1.0)
    assert tiny_bundle.embedding is not None
    report = parity.check_embedder(tiny_bundle.embedding, tiny_sources.embedder, config.embedding, bounds)
    assert 0.9 < report["unusual_cosine"] < 1
    assert report["failures"] == [f"unusual_cosine {report['unusual_cosine']} is below 1.0"]
    assert min(report["unusual"].values()) == report["unusual_cosine"]
