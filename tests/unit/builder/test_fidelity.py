"""The figures of the parity report, against scipy and scikit-learn, and on answers known beforehand."""

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest

from builder.parity import fidelity
from builder.parity.table import report_rows

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scipy import stats  # type: ignore[import-untyped]
    from sklearn.metrics import ndcg_score  # type: ignore[import-untyped]


def unit(rng: np.random.Generator, texts: int, dimensions: int = 16) -> Any:
    vectors = rng.normal(size=(texts, dimensions)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_spearman_is_scipys_with_and_without_ties(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=200), rng.normal(size=200)
    if seed % 2:
        one, other = one.round(0), other.round(1)
    assert fidelity.spearman(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


def test_spearman_without_an_order() -> None:
    assert fidelity.spearman(np.ones(4), np.arange(4)) == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_ndcg_is_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, relevance = rng.normal(size=30), rng.integers(0, 4, size=30).astype(float)
    expected = ndcg_score([relevance], [scores], k=10)
    assert fidelity.ndcg(scores, relevance) == pytest.approx(expected)
    assert fidelity.ndcg(relevance, relevance) == 1.0


def test_ndcg_by_hand() -> None:
    """One relevant passage in third place of three: 1 / log2(4)."""
    assert fidelity.ndcg(np.array([3.0, 2.0, 1.0]), np.array([0.0, 0.0, 1.0])) == pytest.approx(0.5)


def test_kendall_is_scipys() -> None:
    rng = np.random.default_rng(5)
    logits = rng.normal(size=20).astype(np.float32)
    noisy = (logits + rng.normal(size=20) / 2).astype(np.float32)
    found = fidelity.compare_logits([logits], [noisy])
    assert found["kendall_tau"] == pytest.approx(stats.kendalltau(logits, noisy).statistic, abs=1e-6)
    assert found["max_logit_difference"] == pytest.approx(np.abs(logits - noisy).max(), abs=1e-6)


def test_equal_vectors_are_perfect_and_others_are_not() -> None:
    rng = np.random.default_rng(6)
    vectors = unit(rng, 40)
    same = fidelity.compare_vectors(vectors, vectors.copy())
    assert same["texts"] == 40
    assert [same[key] for key in ("rank_correlation", "top10_overlap")] == [1.0, 1.0]
    assert same["min_cosine"] == pytest.approx(1, abs=1e-5)
    other = fidelity.compare_vectors(vectors, unit(rng, 40))
    assert abs(other["mean_cosine"]) < 0.3
    assert abs(other["rank_correlation"]) < 0.2
    assert other["top10_overlap"] < 0.5
    assert fidelity.compare_vectors(vectors[:2], vectors[:2])["top10_overlap"] == 1.0


def test_documents_that_the_reference_does_not_tell_apart_have_no_order() -> None:
    expected = np.array([4.0, -6.0, -6.001, -6.002, -6.003], np.float32)
    found = np.array([4.0, -6.003, -6.002, -6.001, -6.0], np.float32)
    figures = fidelity.compare_logits([expected], [found])
    assert (figures["rank_agreement"], figures["top3_overlap"]) == (1.0, 1.0)
    assert figures["kendall_tau"] < 0
    turned = fidelity.compare_logits([expected], [-found])
    assert turned["rank_agreement"] == 0.0
    # The reference's best document is missing, but the three that are there are as good as its third best.
    assert turned["top3_overlap"] == 1.0
    assert turned["max_score_difference"] > 0.9


def test_the_overlap_of_the_best_three() -> None:
    expected = np.array([4.0, 3.0, 2.0, -6.0, -6.5], np.float32)
    for found, overlap in (([4, 3, 2, -6, -6], 1.0), ([2, 3, 4, -6, -6], 1.0), ([4, 3, -7, 0, -6], 2 / 3)):
        figures = fidelity.compare_logits([expected], [np.array(found, np.float32)])
        assert figures["top3_overlap"] == pytest.approx(overlap, abs=1e-6)


@pytest.mark.parametrize("name", ["min_mean_cosine", "max_score_difference"])
def test_a_figure_that_is_missing_or_not_a_number_fails(name: str) -> None:
    figure = {"min_mean_cosine": "mean_cosine", "max_score_difference": "max_score_difference"}[name]
    assert fidelity.missed({}, {name: 0.5}) == [f"the figure for {name} (0.5) is missing"]
    (message,) = fidelity.missed({figure: float("nan")}, {name: 0.5})
    assert message == f"{figure} nan is not a number, so not within 0.5"
    assert fidelity.missed({figure: 0.5}, {name: 0.5}) == []


def test_vectors_that_are_not_numbers_fail_every_bound_on_cosines() -> None:
    vectors = unit(np.random.default_rng(7), 12)
    broken = vectors.copy()
    broken[3] = np.nan
    figures = fidelity.compare_vectors(vectors, broken)
    failures = fidelity.missed(figures, {"min_mean_cosine": 0.0, "min_cosine": 0.0})
    assert [failure.split()[1] for failure in failures] == ["nan", "nan"]


def test_a_centred_cosine_is_that_of_vectors_without_their_mean() -> None:
    rng = np.random.default_rng(8)
    expected, found = unit(rng, 30), unit(rng, 30)
    middle = expected.mean(axis=0)
    one, other = expected - middle, found - middle
    cosines = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    np.testing.assert_allclose(fidelity.centred_cosines(expected, found), cosines, atol=1e-5)


def test_a_narrow_cone_hides_an_error_from_a_plain_cosine() -> None:
    """Vectors as E5's, all near one direction, and others near it that have nothing to do with them."""
    rng = np.random.default_rng(9)
    axis = np.eye(16, dtype=np.float32)[0]

    def cone() -> Any:
        vectors = 5 * axis + unit(rng, 60)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    figures = fidelity.compare_vectors(cone(), cone())
    assert figures["mean_cosine"] > 0.95
    assert abs(figures["mean_centred_cosine"]) < 0.2
    assert figures["min_centred_cosine"] < figures["mean_centred_cosine"] < figures["min_cosine"]


def test_centred_cosines_of_one_vector_for_all_texts() -> None:
    vectors = np.repeat(unit(np.random.default_rng(10), 1), 5, axis=0)
    assert fidelity.centred_cosines(vectors, vectors).min() == 1.0
    other = vectors.copy()
    other[2] = -other[2]
    assert fidelity.centred_cosines(vectors, other)[2] < 0.5


def test_a_report_with_figures_that_are_not_numbers_is_json() -> None:
    report = {
        "mean_cosine": math.nan,
        "matryoshka": {"8": {"min_cosine": math.inf}},
        "failures": ["x"],
        "n": 3,
    }
    found = fidelity.finite(report)
    assert found == {
        "mean_cosine": None,
        "matryoshka": {"8": {"min_cosine": None}},
        "failures": ["x"],
        "n": 3,
    }
    json.dumps(found, allow_nan=False)
    assert fidelity.missed(found, {"min_mean_cosine": 0.5}) != []
    rows = list(report_rows("embedding", {**found, "thresholds": {"min_mean_cosine": 0.5}}))
    assert rows[0][:3] == ("embedding", "mean_cosine", "not a number")
    assert rows[0][4] == "failed"
