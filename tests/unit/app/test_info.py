"""/info: for text-embeddings-inference's clients, and this project's own."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_app import __version__
from tests.support.api_calls import ask
from tests.support.fakes import (
    fake_dispatcher,
)


def test_info_for_teis_readers_and_ours() -> None:
    info = ask("/info")
    assert info["model_id"] == "test/embedding"
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_client_batch_size"] == info["limits"]["embed_texts"]
    assert info["version"] == __version__
    assert info["models"].keys() == {"embedding", "reranker"}


@pytest.mark.parametrize("rerank_kind", ["cross-encoder", "bi-encoder"])
def test_info_names_the_task_that_is_served(rerank_kind: Any) -> None:
    """Readers of TEI's response, such as Dify, take the first key for the model's task."""
    for models, task in (
        ("reranker", "reranker"),
        ("embedding", "embedding"),
        ("embedding,reranker", "embedding"),
    ):
        settings = {"LOG_LEVEL": "ERROR", "MODELS": models}
        info = ask("/info", dispatcher=fake_dispatcher(settings, rerank_kind=rerank_kind))
        assert list(info["model_type"]) == [task]
