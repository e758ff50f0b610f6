"""The gate: the finished bundle, run by the function's own code, against sentence-transformers.

Token ids have to be equal; vectors and scores may differ as far as the config's thresholds say.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builder.config.schema import EmbeddingConfig, RerankerConfig
from builder.parity import fidelity
from builder.parity.data import load_rankings, load_texts
from builder.parity.evaluation import Evaluation
from builder.parity.published import PublishedCrossEncoder, PublishedEmbedder
from builder.parity.unusual import unusual_scores, unusual_vectors
from builder.quantization.thresholds import (
    EmbeddingThresholds,
    RerankerThresholds,
    evaluation_bounds,
    quality_bounds,
    unusual_bounds,
)
from builder.tokenizer.fuzz_corpus import fuzz_texts
from builder.tokenizer.verify import verify_tokenizer
from lambda_app.bundle import ModelInfo
from lambda_app.cpu import available_cpus
from lambda_app.models.embedder import Embedder, InputType
from lambda_app.models.reranker import Reranker

FUZZ_TEXTS = 400
FUZZ_SEED = 20

Report = dict[str, Any]
Vectors = NDArray[np.float32]


def check_embedder(
    model: ModelInfo,
    source: Path,
    config: EmbeddingConfig,
    thresholds: EmbeddingThresholds,
    evaluation: Evaluation | None = None,
) -> Report:
    """Compares vectors with PyTorch's, on the gate's texts and on the user's own data."""
    texts = load_texts()
    prompts: Sequence[InputType] = ("passage", "query", "none")
    input_types = [prompts[0] if index % 3 else prompts[index // 3 % 3] for index in range(len(texts))]
    both = _Embedders(model, source, config)
    expected, found = both.embed(texts, input_types)
    report: Report = fidelity.compare_vectors(expected, found)
    bounds = quality_bounds(thresholds)
    report |= unusual_vectors(both.embed)
    failures = fidelity.missed(report, bounds | unusual_bounds(thresholds))
    for dimensions in model.matryoshka:
        short = fidelity.compare_vectors(*(_shortened(one, dimensions) for one in (expected, found)))
        report.setdefault("matryoshka", {})[str(dimensions)] = short
        missed = fidelity.missed(short, bounds)
        failures += [f"{one} (in {dimensions} dimensions)" for one in missed]
    if evaluation is not None:
        report["evaluation"] = figures = _evaluate_embedder(both, evaluation)
        missed = fidelity.missed(figures, evaluation_bounds(thresholds, judged=bool(evaluation.judged())))
        failures += [f"{one} ({evaluation.name})" for one in missed]
        texts = [*texts, *evaluation.texts, *evaluation.rankings, *evaluation.passages()]
    return _finish(report, failures, asdict(thresholds), model, both.tokenizer, texts, [])


def check_reranker(
    model: ModelInfo,
    source: Path,
    config: RerankerConfig,
    thresholds: RerankerThresholds,
    evaluation: Evaluation | None = None,
) -> Report:
    """Compares scores and rankings with PyTorch's, on the gate's texts and on the user's own data."""
    rankings = load_rankings()
    reference = PublishedCrossEncoder(source, config)
    reranker = Reranker.open(model, threads=available_cpus())

    def score(rankings: Sequence[tuple[str, Sequence[str]]]) -> tuple[list[Vectors], list[Vectors]]:
        return (
            [reference.score(query, documents) for query, documents in rankings],
            [reranker.score(query, documents).logits for query, documents in rankings],
        )

    report: Report = fidelity.compare_logits(*score(rankings))
    report |= unusual_scores(score)
    failures = fidelity.missed(report, quality_bounds(thresholds) | unusual_bounds(thresholds))
    if evaluation is not None and not evaluation.rankings:
        report["evaluation"] = {**_named(evaluation), "skipped": "the file has no query with a passage"}
    elif evaluation is not None:
        own = [(query, list(passages)) for query, passages in evaluation.rankings.items()]
        expected, found = score(own)
        report["evaluation"] = figures = {
            **_named(evaluation),
            **fidelity.compare_logits(expected, found),
            **_gains(evaluation, expected, found),
        }
        missed = fidelity.missed(figures, evaluation_bounds(thresholds, judged=bool(evaluation.judged())))
        failures += [f"{one} ({evaluation.name})" for one in missed]
        rankings = [*rankings, *own]
    pairs = [(query, document) for query, documents in rankings for document in documents]
    return _finish(report, failures, asdict(thresholds), model, reference.tokenizer, load_texts(), pairs)


class _Embedders:
    """The published model and the bundle's, side by side."""

    def __init__(self, model: ModelInfo, source: Path, config: EmbeddingConfig) -> None:
        # Of the config, not of the bundle: that may have lost them.
        self._prompts = config.prompts or {}
        self._reference = PublishedEmbedder(source, config)
        self.tokenizer = self._reference.tokenizer
        self._embedder = Embedder.open(model, threads=available_cpus())

    def embed(self, texts: Sequence[str], input_types: Sequence[InputType]) -> tuple[Vectors, Vectors]:
        """(texts, dimensions) of the reference and of the bundle."""
        prompts = self._prompts
        expected = self._reference.embed(
            [_prompted(text, prompts.get(kind, "")) for text, kind in zip(texts, input_types, strict=True)]
        )
        found = np.empty_like(expected)
        for input_type in dict.fromkeys(input_types):
            rows = [index for index, one in enumerate(input_types) if one == input_type]
            found[rows] = self._embedder.embed([texts[index] for index in rows], input_type).vectors
        return expected, found


def _evaluate_embedder(both: _Embedders, evaluation: Evaluation) -> Report:
    """Ranks every query against all passages of the file; passages without a relevance for it count as 0."""
    queries, passages = list(evaluation.rankings), evaluation.passages()
    rest = [*evaluation.texts, *passages]
    input_types: list[InputType] = [
        "query" if index < len(queries) else "passage" for index in range(len(queries) + len(rest))
    ]
    expected, found = both.embed([*queries, *rest], input_types)
    report = {**_named(evaluation), **fidelity.compare_vectors(expected, found)}
    if passages:
        split, first = len(queries), len(queries) + len(evaluation.texts)
        similar, also = (vectors[:split] @ vectors[first:].T for vectors in (expected, found))
        report.update(_gains(evaluation, list(similar), list(also), corpus=passages))
    return report


def _gains(
    evaluation: Evaluation,
    expected: Sequence[Vectors],
    found: Sequence[Vectors],
    corpus: Sequence[str] | None = None,
) -> Report:
    """nDCG@10 of both by scores a query; ``corpus`` is what was ranked, each query's own passages if None."""
    judged = set(evaluation.judged())
    gains = []
    for (query, own), one, other in zip(evaluation.rankings.items(), expected, found, strict=True):
        if query in judged:
            relevance = np.array([own.get(passage) or 0.0 for passage in (corpus or own)])
            gains.append([fidelity.ndcg(scores.astype(np.float64), relevance) for scores in (one, other)])
    if not gains:
        return {}
    reference, bundle = np.mean(gains, axis=0)
    return {
        "judged_queries": len(gains),
        "reference_ndcg10": fidelity.rounded(reference),
        "ndcg10": fidelity.rounded(bundle),
        "ndcg10_loss": fidelity.rounded(reference - bundle),
    }


def _named(evaluation: Evaluation) -> Report:
    return {"file": evaluation.name, "sha256": evaluation.sha256}


def _finish(
    report: Report,
    failures: list[str],
    thresholds: Mapping[str, float],
    model: ModelInfo,
    published: Any,
    texts: list[str],
    pairs: list[tuple[str, str]],
) -> Report:
    fuzz = list(fuzz_texts(FUZZ_TEXTS, FUZZ_SEED))
    if pairs:
        pairs = [*pairs, *zip(fuzz[::2], fuzz[1::2], strict=False)]
    with tempfile.TemporaryDirectory() as directory:
        # As transformers opened it, with tokenizer_config.json over tokenizer.json.
        path = Path(directory) / "tokenizer.json"
        published.backend_tokenizer.save(str(path))
        tokens = verify_tokenizer(model, path, [*texts, *fuzz], pairs, model.max_tokens)
    if tokens.first_difference:
        failures = [*failures, f"token ids differ: {tokens.first_difference}"]
    return {
        **report,
        "thresholds": dict(thresholds),
        "tokenizer": asdict(tokens),
        "passed": not failures,
        "failures": failures,
    }


def _shortened(vectors: Vectors, dimensions: int) -> Vectors:
    cut = vectors[:, :dimensions]
    lengths = np.linalg.norm(cut, axis=1, keepdims=True)
    return np.asarray(cut / np.maximum(lengths, np.finfo(np.float32).tiny), np.float32)


def _prompted(text: str, prompt: str) -> str:
    return text if text.startswith(prompt) else prompt + text
