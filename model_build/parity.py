"""The gate: the finished bundle, run by the function's own code, against the PyTorch model.

Token ids have to be equal; vectors and scores may differ as far as the config's thresholds say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lambda_app.bundle import ModelInfo
from lambda_app.models.embedder import Embedder, InputType
from lambda_app.models.reranker import Reranker
from model_build.config import EmbeddingThresholds, RerankerThresholds
from model_build.fuzz_corpus import fuzz_texts
from model_build.reference import Reference, load_dense, load_torch_model
from model_build.verify_tokenizer import verify_tokenizer

DATA = Path(__file__).parent / "data"
FUZZ_TEXTS = 400
FUZZ_SEED = 20
NEIGHBOURS = 10
# Two documents whose reference scores are nearer than this have no order that could be got wrong.
RANK_MARGIN = 0.01

Report = dict[str, Any]


def load_texts() -> list[str]:
    """The parity sentences, and long ones made of them that pass every model's limit."""
    lines = (DATA / "parity_texts.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t", 1)[1] for line in lines if line and not line.startswith("#")]
    return [*texts, *(" ".join(texts[start::17] * 4) for start in range(4))]


def load_rankings() -> list[tuple[str, list[str]]]:
    """Queries with their documents, the last query with documents that have to be cut."""
    lines = (DATA / "parity_rankings.jsonl").read_text(encoding="utf-8").splitlines()
    rankings = [(entry["query"], entry["documents"]) for entry in map(json.loads, lines)]
    query, documents = rankings[-1]
    return [*rankings, (query, [" ".join([document] * 40) for document in documents])]


def check_embedder(model: ModelInfo, source: Path, thresholds: EmbeddingThresholds) -> Report:
    """Mean and minimum cosine, and overlap of the ten nearest neighbours of each text."""
    texts = load_texts()
    prompts: Sequence[InputType] = ("passage", "query", "none")
    roles = [prompts[0] if index % 3 else prompts[index // 3 % 3] for index in range(len(texts))]
    reference = _reference(model, source)
    expected = reference.embed(
        [_prompted(text, model.prompts.get(role, "")) for text, role in zip(texts, roles, strict=True)],
        model.pooling or "mean",
        load_dense(source),
    )
    embedder = Embedder.open(model, threads=_threads())
    found = np.empty_like(expected)
    for role in prompts:
        rows = [index for index, one in enumerate(roles) if one == role]
        found[rows] = embedder.embed([texts[index] for index in rows], role).vectors
    cosine = (expected * found).sum(axis=1)
    report = {
        "texts": len(texts),
        "mean_cosine": _rounded(cosine.mean()),
        "min_cosine": _rounded(cosine.min()),
        "top10_overlap": _rounded(_overlap(expected, found)),
    }
    failures = [
        f"{name} {report[name]} is below {least}"
        for name, least in (
            ("mean_cosine", thresholds.min_mean_cosine),
            ("min_cosine", thresholds.min_cosine),
            ("top10_overlap", thresholds.min_top10_overlap),
        )
        if report[name] < least
    ]
    return _finish(report, failures, model, source, texts, [])


def check_reranker(model: ModelInfo, source: Path, thresholds: RerankerThresholds) -> Report:
    """Differences of scores after the activation, and how many pairs of documents keep their order."""
    rankings = load_rankings()
    reference = _reference(model, source)
    reranker = Reranker.open(model, threads=_threads())
    expected = [_activated(reference.score(query, documents), model) for query, documents in rankings]
    found = [_activated(reranker.score(query, documents).logits, model) for query, documents in rankings]
    difference = np.abs(np.concatenate(expected) - np.concatenate(found))
    agreement, kendall = _rank_agreement(expected, found)
    report = {
        "queries": len(rankings),
        "pairs": len(difference),
        "mean_score_difference": _rounded(difference.mean()),
        "max_score_difference": _rounded(difference.max()),
        "rank_agreement": _rounded(agreement),
        "kendall_tau": _rounded(kendall),
    }
    failures = [
        f"{name} {report[name]} is above {most}"
        for name, most in (
            ("mean_score_difference", thresholds.max_mean_score_difference),
            ("max_score_difference", thresholds.max_score_difference),
        )
        if report[name] > most
    ]
    if agreement < thresholds.min_rank_agreement:
        failures.append(f"rank_agreement {report['rank_agreement']} is below {thresholds.min_rank_agreement}")
    pairs = [(query, document) for query, documents in rankings for document in documents]
    return _finish(report, failures, model, source, load_texts(), pairs)


def _finish(
    report: Report,
    failures: list[str],
    model: ModelInfo,
    source: Path,
    texts: list[str],
    pairs: list[tuple[str, str]],
) -> Report:
    fuzz = list(fuzz_texts(FUZZ_TEXTS, FUZZ_SEED))
    if pairs:
        pairs = [*pairs, *zip(fuzz[::2], fuzz[1::2], strict=False)]
    tokens = verify_tokenizer(model, source / "tokenizer.json", [*texts, *fuzz], pairs, model.max_tokens)
    if tokens.first_difference:
        failures = [*failures, f"token ids differ: {tokens.first_difference}"]
    return {**report, "tokenizer": asdict(tokens), "passed": not failures, "failures": failures}


def _reference(model: ModelInfo, source: Path) -> Reference:
    return Reference(
        load_torch_model(source, model.role),
        source / "tokenizer.json",
        max_tokens=model.max_tokens,
        pad_token_id=model.pad_token_id,
    )


def _prompted(text: str, prompt: str) -> str:
    return text if text.startswith(prompt) else prompt + text


def _activated(logits: NDArray[np.float32], model: ModelInfo) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    return 1 / (1 + np.exp(-values)) if model.activation == "sigmoid" else values


def _overlap(expected: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Mean share of each text's nearest neighbours that both spaces agree on."""
    nearest = [_nearest(vectors) for vectors in (expected, found)]
    shared = [len(set(one) & set(other)) for one, other in zip(*nearest, strict=True)]
    return float(np.mean(shared)) / min(NEIGHBOURS, len(expected) - 1)


def _nearest(vectors: NDArray[np.float32]) -> list[list[int]]:
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -np.inf)
    return np.argsort(-similarity, axis=1, kind="stable")[:, :NEIGHBOURS].tolist()  # type: ignore[no-any-return]


def _rank_agreement(
    expected: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]]
) -> tuple[float, float]:
    """Share of the document pairs told apart by the reference that keep their order, and Kendall's tau."""
    same = clear = concordant = total = 0
    for reference, scores in zip(expected, found, strict=True):
        for one, other in combinations(range(len(reference)), 2):
            agrees = (reference[one] - reference[other]) * (scores[one] - scores[other]) > 0
            total += 1
            concordant += agrees
            if abs(reference[one] - reference[other]) > RANK_MARGIN:
                clear += 1
                same += agrees
    return (same / clear if clear else 1.0), (2 * concordant / total - 1 if total else 1.0)


def _threads() -> int:
    return max(1, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def _rounded(value: Any) -> float:
    return round(float(value), 6)
