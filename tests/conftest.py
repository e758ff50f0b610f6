"""Fixtures that several test modules share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.tiny_sources import TinySources

if TYPE_CHECKING:
    from lambda_app.bundle import Bundle


@pytest.fixture(scope="session")
def tiny_sources(tmp_path_factory: pytest.TempPathFactory) -> TinySources:
    """Two-layer models with random weights and real tokenizers."""
    from tests.support import tiny_models  # imports PyTorch: only for tests that need it

    root = tmp_path_factory.mktemp("tiny-sources")
    return TinySources(
        tiny_models.bert_embedder(root / "tiny-embedder"),
        tiny_models.bert_cross_encoder(root / "tiny-bert-reranker"),
        tiny_models.xlmr_cross_encoder(root / "tiny-xlmr-reranker"),
    )


@pytest.fixture(scope="session")
def tiny_bundle(tiny_sources: TinySources, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An INT8 bundle of the tiny embedder and the tiny XLM-R cross-encoder. Copy it to change it."""
    from lambda_app.bundle import Bundle
    from tests.support.builds import build_bundle

    root = tmp_path_factory.mktemp("tiny-bundle")
    build_bundle(root, embedding=str(tiny_sources.embedder), reranker=str(tiny_sources.xlmr_reranker))
    return Bundle.open(root / "models")
