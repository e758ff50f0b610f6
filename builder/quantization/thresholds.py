"""How near to PyTorch's each scheme's answers have to be: the parity gate's defaults.

A config overrides single thresholds (``[parity.SCHEME.embedding]``). This module imports nothing heavy, so
that a config can be read without onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class EmbeddingThresholds:
    """Bounds for an embedding model's figures, all from 0 to 1.

    Attributes:
        min_mean_cosine: Between bundle and PyTorch vectors of one text, the mean over texts.
        min_cosine: The same for the worst text.
        min_mean_centred_cosine: As ``min_mean_cosine``, without the mean of PyTorch's vectors.
        min_centred_cosine: As ``min_cosine``, the same way.
        min_top10_overlap: The share of each text's ten nearest texts that stay the same.
        min_rank_correlation: Spearman's, of the similarities of all pairs of texts.
        max_ndcg10_loss: nDCG@10 lost on the user's own data (``--eval``).
        min_emulated_cosine: Between the bundle's vectors here and on an emulated CPU.
        min_unusual_cosine: As ``min_cosine``, on texts unlike those that scales were set by.
    """

    min_mean_cosine: float
    min_cosine: float
    min_mean_centred_cosine: float
    min_centred_cosine: float
    min_top10_overlap: float
    min_rank_correlation: float
    max_ndcg10_loss: float = 0.05
    min_emulated_cosine: float = 0.999
    min_unusual_cosine: float = 0.988


@dataclass(frozen=True, slots=True)
class RerankerThresholds:
    """Bounds for a cross-encoder's figures, all from 0 to 1. Scores are the sigmoid of logits.

    Attributes:
        max_mean_score_difference: Between the bundle's and PyTorch's scores, the mean over pairs.
        max_score_difference: The same for the worst pair.
        min_rank_agreement: The share of document pairs that are ranked the same way.
        min_kendall_tau: Kendall's tau of the rankings.
        min_top3_overlap: The share of the best three documents that stay the same.
        max_ndcg10_loss: nDCG@10 lost on the user's own data (``--eval``).
        max_emulated_score_difference: Between scores here and on an emulated CPU.
        max_unusual_score_difference: As ``max_score_difference``, on texts unlike those that scales were
            set by.
    """

    max_mean_score_difference: float
    max_score_difference: float
    min_rank_agreement: float
    min_kendall_tau: float
    min_top3_overlap: float
    max_ndcg10_loss: float = 0.05
    max_emulated_score_difference: float = 0.01
    max_unusual_score_difference: float = 0.2


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Bounds of one scheme."""

    embedding: EmbeddingThresholds
    reranker: RerankerThresholds


# The comments have the figures of all-MiniLM-L6-v2 on the gate's texts (`build_models.py --config
# models.minilm.toml --quantization SCHEME`); bounds allow up to about twice the error (1 minus the figure).
# The mean centred cosine's refuses a bundle in which one scale is 20% off: 0.9973 at best for int8, 0.9983
# for int8-block, 0.9899 for int4. int8 without smoothing has 0.9965, plainly rounded 0.9955. Figures of
# cross-encoders are those of tests/support/trained_cross_encoder.py; with one layer of int8 in another order,
# the mean difference is 0.030 where it shows least. docs/QUANTIZATION.md has all of them.
_INT8_RERANKER = RerankerThresholds(
    max_mean_score_difference=0.02,  # 0.0090
    max_score_difference=0.15,  # 0.087
    min_rank_agreement=0.97,  # 1.0
    min_kendall_tau=0.9,  # 1.0
    min_top3_overlap=0.93,  # 1.0
)
# Measured: above 0.99999, and 0.9995 for the overlap. What differs is the order in which FP32 sums are added.
_FP32 = Thresholds(
    EmbeddingThresholds(
        min_mean_cosine=0.9999,
        min_cosine=0.9999,
        min_mean_centred_cosine=0.9999,
        min_centred_cosine=0.9995,
        min_top10_overlap=0.99,
        min_rank_correlation=0.999,
        min_unusual_cosine=0.9999,
    ),
    RerankerThresholds(
        max_mean_score_difference=0.0005,
        max_score_difference=0.002,
        min_rank_agreement=0.999,
        min_kendall_tau=0.99,
        min_top3_overlap=0.99,
        max_unusual_score_difference=0.002,
    ),
)

THRESHOLDS: Mapping[str, Thresholds] = {
    "int8": Thresholds(
        EmbeddingThresholds(
            min_mean_cosine=0.9983,  # 0.9991
            min_cosine=0.985,  # 0.9930
            min_mean_centred_cosine=0.998,  # 0.9989
            min_centred_cosine=0.985,  # 0.9930
            min_top10_overlap=0.96,  # 0.977
            min_rank_correlation=0.9985,  # 0.9994
            min_unusual_cosine=0.988,  # 0.9957; 0.9872 with one scale for a batch
        ),
        _INT8_RERANKER,
    ),
    "int8-vnni": Thresholds(
        EmbeddingThresholds(
            min_mean_cosine=0.997,  # 0.9979
            min_cosine=0.975,  # 0.9832
            min_mean_centred_cosine=0.997,  # 0.9976
            min_centred_cosine=0.97,  # 0.9793
            min_top10_overlap=0.945,  # 0.962
            min_rank_correlation=0.998,  # 0.9987
            min_unusual_cosine=0.988,
        ),
        _INT8_RERANKER,
    ),
    "int8-block": Thresholds(
        EmbeddingThresholds(
            min_mean_cosine=0.9993,  # 0.9996
            min_cosine=0.9955,  # 0.9972
            min_mean_centred_cosine=0.9992,  # 0.9995
            min_centred_cosine=0.9955,  # 0.9972
            min_top10_overlap=0.975,  # 0.985
            min_rank_correlation=0.9995,  # 0.9997
            min_unusual_cosine=0.9955,  # 0.9978
        ),
        RerankerThresholds(
            max_mean_score_difference=0.01,  # 0.0063
            max_score_difference=0.1,  # 0.058
            min_rank_agreement=0.98,  # 0.993
            min_kendall_tau=0.95,  # 0.988
            min_top3_overlap=0.95,  # 1.0
            max_unusual_score_difference=0.1,
        ),
    ),
    "int4": Thresholds(
        EmbeddingThresholds(
            min_mean_cosine=0.988,  # 0.9921
            min_cosine=0.89,  # 0.9295
            min_mean_centred_cosine=0.99,  # 0.9910
            min_centred_cosine=0.89,  # 0.9293
            min_top10_overlap=0.9,  # 0.923
            min_rank_correlation=0.991,  # 0.9946
            min_unusual_cosine=0.94,  # 0.9609
        ),
        RerankerThresholds(
            max_mean_score_difference=0.06,  # 0.037
            max_score_difference=0.5,  # 0.348
            min_rank_agreement=0.95,  # 0.993
            min_kendall_tau=0.85,  # 0.940
            min_top3_overlap=0.9,  # 1.0
            max_unusual_score_difference=0.3,
        ),
    ),
    "mixed": Thresholds(
        EmbeddingThresholds(
            min_mean_cosine=0.9985,  # 0.9991
            min_cosine=0.99,  # 0.9943
            min_mean_centred_cosine=0.9983,  # 0.9989
            min_centred_cosine=0.99,  # 0.9943
            min_top10_overlap=0.96,  # 0.974
            min_rank_correlation=0.9985,  # not less than int8's
            min_unusual_cosine=0.99,
        ),
        RerankerThresholds(
            max_mean_score_difference=0.02,  # not more than int8's
            max_score_difference=0.15,
            min_rank_agreement=0.97,
            min_kendall_tau=0.9,
            min_top3_overlap=0.93,
            max_unusual_score_difference=0.15,
        ),
    ),
    "fp16-weights": _FP32,
    "none": _FP32,
}


def quality_bounds(thresholds: EmbeddingThresholds | RerankerThresholds) -> dict[str, float]:
    """Returns the thresholds whose figures every comparison with PyTorch has."""
    return {
        name: bound
        for name, bound in asdict(thresholds).items()
        if name != "max_ndcg10_loss" and "emulated" not in name and "unusual" not in name
    }


def unusual_bounds(thresholds: EmbeddingThresholds | RerankerThresholds) -> dict[str, float]:
    """Returns the thresholds for texts unlike those that scales were set by."""
    return {name: bound for name, bound in asdict(thresholds).items() if "unusual" in name}


def evaluation_bounds(
    thresholds: EmbeddingThresholds | RerankerThresholds, *, judged: bool
) -> dict[str, float]:
    """Returns the thresholds for the user's own data; ``judged`` says whether it has relevances."""
    gain = {"max_ndcg10_loss": thresholds.max_ndcg10_loss} if judged else {}
    return {**quality_bounds(thresholds), **gain}


def emulation_bounds(thresholds: EmbeddingThresholds | RerankerThresholds) -> dict[str, float]:
    """Returns the thresholds for answers on an emulated CPU."""
    return {name: bound for name, bound in asdict(thresholds).items() if "emulated" in name}
