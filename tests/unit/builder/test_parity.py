"""The parity gate: what it measures of a bundle, what it refuses, and how it says so."""

import json
import shutil
from pathlib import Path

import numpy as np

from builder.parity import fidelity
from builder.parity import gate as parity
from builder.parity.table import report_rows, verdict
from lambda_app.bundle import Bundle
from tests.support.builds import tiny_config
from tests.support.tiny_sources import TinySources


def test_parity_report_and_a_sabotaged_bundle(
    tiny_bundle: Bundle, tiny_sources: TinySources, tmp_path: Path
) -> None:
    config = tiny_config(tmp_path, embedding=tiny_sources.embedder, reranker=tiny_sources.xlmr_reranker)
    embedding, reranker = tiny_bundle.embedding, tiny_bundle.reranker
    assert embedding is not None
    assert reranker is not None
    assert config.embedding is not None
    assert config.reranker is not None
    thresholds = config.thresholds
    good = parity.check_embedder(embedding, tiny_sources.embedder, config.embedding, thresholds.embedding)
    assert good["passed"], good
    assert good["texts"] > 200
    assert good["tokenizer"]["first_difference"] is None
    ranked = parity.check_reranker(reranker, tiny_sources.xlmr_reranker, config.reranker, thresholds.reranker)
    assert ranked["passed"], ranked
    assert ranked["rank_agreement"] > 0.9

    broken = shutil.copytree(tiny_bundle.directory, tmp_path / "copy")
    weights = broken / "embedding" / "model.bin"
    data = np.frombuffer(weights.read_bytes(), np.uint8).copy()
    for tensor in embedding.tensors:
        if tensor.dtype == "int8" and tensor.name.endswith("_int8"):
            data[tensor.offset : tensor.offset + tensor.bytes] = 1
    weights.write_bytes(data.tobytes())
    altered = embedding._replace(directory=broken / "embedding")
    bad = parity.check_embedder(altered, tiny_sources.embedder, config.embedding, thresholds.embedding)
    assert not bad["passed"]
    assert any("mean_cosine" in failure or "top10_overlap" in failure for failure in bad["failures"])

    # Plain ASCII goes by the first, the rest through the library by the second.
    for name in ("wordpiece.json", "tokenizer.json"):
        tokenizer = broken / "embedding" / name
        content = json.loads(tokenizer.read_text(encoding="utf-8"))
        assert content["normalizer"]["lowercase"] is True
        content["normalizer"]["lowercase"] = False
        tokenizer.write_text(json.dumps(content), encoding="utf-8")
    other = parity.check_embedder(altered, tiny_sources.embedder, config.embedding, thresholds.embedding)
    assert any(failure.startswith("token ids differ") for failure in other["failures"])


def test_thresholds_that_are_missed_are_named() -> None:
    figures = {"mean_cosine": 0.9, "min_cosine": 0.5, "ndcg10_loss": 0.2}
    thresholds = {"min_mean_cosine": 0.95, "min_cosine": 0.5, "max_ndcg10_loss": 0.1}
    assert fidelity.missed(figures, thresholds) == [
        "mean_cosine 0.9 is below 0.95",
        "ndcg10_loss 0.2 is above 0.1",
    ]
    rows = list(report_rows("embedding", {**figures, "thresholds": thresholds, "texts": 3}))
    assert rows == [
        ("embedding", "mean_cosine", "0.900000", ">= 0.95", "failed"),
        ("embedding", "min_cosine", "0.500000", ">= 0.5", ""),
        ("embedding", "ndcg10_loss", "0.200000", "<= 0.1", "failed"),
    ]


def test_the_verdict_counts_the_thresholds_or_names_what_failed() -> None:
    report = {"mean_cosine": 0.99, "min_cosine": 0.9, "thresholds": {"min_mean_cosine": 0.98}, "failures": []}
    assert verdict("embedding", report) == "embedding: PASSED 1 of 1"
    line = verdict("reranker", {**report, "failures": ["kendall_tau is 0.1"]})
    assert line.startswith("reranker: FAILED: kendall_tau is 0.1. ")
    assert "[parity.SCHEME.reranker]" in line
