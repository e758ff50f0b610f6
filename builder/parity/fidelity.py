"""How near one model's answers are to another's: the figures of the parity report, from plain arrays.

The first argument is always the reference. Figures are plain floats and counts, rounded for the manifest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figures = dict[str, Any]
Scores = NDArray[np.float64]

NEIGHBOURS = 10
BEST = 3
# Two documents whose reference scores (0 to 1) are nearer than this have no order that could be got wrong.
RANK_MARGIN = 0.01
# Pairwise figures take memory and time by the square: of more texts than this, the first ones count.
PAIRWISE_TEXTS = 2000
# Numbers of unit vectors in FP32 that are nearer than this are the same.
_ROUNDING = 1e-5


def compare_vectors(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Figures:
    """Compares (texts, dimensions) vectors of length 1, of at least two texts.

    Returns:
        The cosine of each text's two vectors (mean and worst), plain and centred, Spearman's correlation of
        the similarities of all pairs of texts, and the share of each text's ten nearest neighbours that both
        spaces have.
    """
    cosine = (expected * found).sum(axis=1)
    centred = centred_cosines(expected, found)
    similar, also = (_similarities(vectors[:PAIRWISE_TEXTS]) for vectors in (expected, found))
    pairs = np.triu_indices(len(similar), k=1)
    return {
        "texts": len(cosine),
        "mean_cosine": rounded(cosine.mean()),
        "min_cosine": rounded(cosine.min()),
        "mean_centred_cosine": rounded(centred.mean()),
        "min_centred_cosine": rounded(centred.min()),
        "rank_correlation": rounded(spearman(similar[pairs], also[pairs])),
        "top10_overlap": rounded(_overlap(similar, also)),
    }


def centred_cosines(expected: NDArray[np.float32], found: NDArray[np.float32]) -> Scores:
    """Returns the cosine of each text's two vectors without what all texts have in common.

    That is the mean of the reference's vectors, taken off both. Where vectors lie in a narrow cone, as E5's
    do (unrelated texts have a cosine of 0.8), it is most of a plain cosine, and hides what differs.
    """
    middle = expected.mean(axis=0, dtype=np.float64)
    one, other = expected - middle, found - middle
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    # Texts at the middle itself have no direction that could be got wrong.
    same = np.abs(one - other).max(axis=1) < _ROUNDING
    cosines: Scores = (one * other).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    return np.where(same & (lengths < _ROUNDING**2), 1.0, cosines)


def compare_logits(expected: Sequence[NDArray[np.float32]], found: Sequence[NDArray[np.float32]]) -> Figures:
    """Compares logits, one array for each query: their differences, and how documents rank.

    Scores are the sigmoid of the logits whatever the model's activation, so that thresholds mean the same for
    every model.

    Returns:
        Differences of scores and logits, and: ``rank_agreement``, the share of document pairs that keep their
        order, of those that the reference tells apart; ``kendall_tau`` over all pairs; ``top3_overlap``, the
        share of each query's best three that are as good as the reference's best three.
    """
    logits = np.abs(np.concatenate(expected).astype(np.float64) - np.concatenate(found))
    references, others = [sigmoid(one) for one in expected], [sigmoid(one) for one in found]
    scores = np.abs(np.concatenate(references) - np.concatenate(others))
    pairs = [_pairs(one, other) for one, other in zip(references, others, strict=True)]
    gaps, orders = (np.concatenate(column) for column in zip(*pairs, strict=True))
    clear = gaps > RANK_MARGIN
    best = [_best(one, other) for one, other in zip(references, others, strict=True)]
    return {
        "queries": len(expected),
        "pairs": len(scores),
        "mean_score_difference": rounded(scores.mean()),
        "max_score_difference": rounded(scores.max()),
        "mean_logit_difference": rounded(logits.mean()),
        "max_logit_difference": rounded(logits.max()),
        "rank_agreement": rounded((orders[clear] > 0).mean() if clear.any() else 1.0),
        "kendall_tau": rounded(orders[gaps > 0].mean() if (gaps > 0).any() else 1.0),
        "top3_overlap": rounded(np.mean(best)),
    }


def ndcg(scores: Scores, relevance: Scores, k: int = 10) -> float:
    """Returns the normalised discounted cumulative gain of the best ``k``.

    Gains are linear in the relevance, ties in the order given; ``relevance`` has a number above 0 (Järvelin
    and Kekäläinen, 2002, as trec_eval has it).
    """
    discounts = 1 / np.log2(np.arange(2, min(k, len(scores)) + 2))
    ranked = relevance[np.argsort(-scores, kind="stable")][:k]
    return float((ranked * discounts).sum() / (np.sort(relevance)[::-1][:k] * discounts).sum())


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Returns the correlation of ranks; 1.0 where either has no order at all."""
    ranks = np.stack([_ranks(one), _ranks(other)])
    if (np.ptp(ranks, axis=1) == 0).any():
        return 1.0
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


def missed(figures: Mapping[str, Any], thresholds: Mapping[str, float]) -> list[str]:
    """Returns a message for every threshold that is not met.

    ``min_x`` bounds figure ``x`` from below, ``max_x`` from above; where there is a figure of the threshold's
    own name, that one is bounded. A figure that is missing or not a number does not meet its threshold.
    """
    failures = []
    for name, bound in thresholds.items():
        figure = figure_of(name, figures)
        if figure is None or figures[figure] is None:
            failures.append(f"the figure for {name} ({bound}) is missing")
            continue
        value, lower = figures[figure], name.startswith("min_")
        met = value >= bound if lower else value <= bound
        if not met:
            kind = "not a number, so not within" if math.isnan(value) else "below" if lower else "above"
            failures.append(f"{figure} {value} is {kind} {bound}")
    return failures


def figure_of(threshold: str, figures: Mapping[str, Any]) -> str | None:
    """Returns the figure that a threshold bounds, None where it is missing."""
    return next((name for name in (threshold, threshold.partition("_")[2]) if name in figures), None)


def sigmoid(logits: NDArray[Any]) -> Scores:
    """Returns scores from 0 to 1 for logits, without overflow."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    scores: Scores = np.asarray(np.where(logits >= 0, 1 / (1 + small), small / (1 + small)))
    return scores


def finite(report: Any) -> Any:
    """Returns a report with None for every number that JSON has no form for: NaN and infinities."""
    if isinstance(report, Mapping):
        return {key: finite(value) for key, value in report.items()}
    if isinstance(report, list | tuple):
        return [finite(value) for value in report]
    return None if isinstance(report, float) and not math.isfinite(report) else report


def rounded(value: Any) -> float:
    """Returns a figure as the manifest has it."""
    return round(float(value), 6)


def _similarities(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors @ vectors.T


def _overlap(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    nearest = [_nearest(similarities) for similarities in (expected, found)]
    shared = [len(set(one) & set(other)) for one, other in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / min(NEIGHBOURS, len(expected) - 1)


def _nearest(similarities: NDArray[np.float32]) -> list[list[int]]:
    others = similarities.copy()
    np.fill_diagonal(others, -np.inf)
    count = min(NEIGHBOURS, len(others) - 1)
    return np.argsort(-others, axis=1, kind="stable")[:, :count].tolist()  # type: ignore[no-any-return]


def _ranks(values: NDArray[Any]) -> NDArray[np.float64]:
    """Ranks from 0, those of equal values averaged."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - counts + ends - 1) / 2, np.float64)[inverse]


def _pairs(expected: Scores, found: Scores) -> tuple[Scores, Scores]:
    """Returns two arrays over all pairs of documents.

    The first is how far the reference tells them apart. The second is 1, 0 or -1 as the other orders them the
    same way, not at all, or the other way round.
    """
    one, other = np.triu_indices(len(expected), k=1)
    gap = expected[one] - expected[other]
    return np.abs(gap), np.sign(gap) * np.sign(found[one] - found[other])


def _best(expected: Scores, found: Scores) -> float:
    best = np.argsort(-found, kind="stable")[:BEST]
    last = np.sort(expected)[::-1][:BEST][-1]
    return float((expected[best] >= last - RANK_MARGIN).mean())
