"""The snippets of docs/CLIENTS.md: each runs as it stands, and computes what the function answers."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import BEST, PASSAGES, QUERY, URL

PAGE = Path(os.environ["CLIENTS_PAGE"]).read_text(encoding="utf-8")
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ADDRESS = "http://localhost:8000"
# The page begins with the texts that every snippet uses, and ends with code for the function itself, which
# the own tests of the function run.
OWN_ROUTES = "## Your own routes"
assert OWN_ROUTES in PAGE
TEXTS, *SNIPPETS = FENCE.findall(PAGE.partition(OWN_ROUTES)[0])
CLIENTS = [
    *("openai", "cohere", "voyageai", "huggingface_hub", "langchain_openai", "langchain_cohere"),
    *("llama_index.embeddings.openai_like", "llama_index.embeddings.text_embeddings_inference"),
    *("llama_index.postprocessor.tei_rerank", "llama_index.postprocessor.cohere_rerank"),
    *("haystack.components.embedders", "haystack_integrations.components.rankers.huggingface_api"),
]


def test_the_page_shows_every_client() -> None:
    assert [name for name in CLIENTS if f"from {name} " not in PAGE and f"import {name}\n" not in PAGE] == []


def close(found: Any, expected: Any) -> bool:
    return all(row == pytest.approx(want, abs=1e-6) for row, want in zip(found, expected, strict=True))


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda text: text.split("\n")[0].replace(" ", "-"))
def test_snippets(snippet: str, vectors: Callable[[list[str], str], list[list[float]]]) -> None:
    names: dict[str, Any] = {}
    exec(compile(TEXTS + snippet.replace(ADDRESS, URL), "CLIENTS.md", "exec"), names)
    assert (names["query"], names["passages"]) == (QUERY, PASSAGES)
    computed = names.keys() & {"query_vector", "passage_vectors", "best"}
    assert computed
    if "query_vector" in computed:
        assert close([names["query_vector"]], vectors([QUERY], "query"))
    if "passage_vectors" in computed:
        assert close(names["passage_vectors"], vectors(PASSAGES, "passage"))
    if "best" in computed:
        assert names["best"] == PASSAGES[BEST]
