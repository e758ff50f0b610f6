"""Where the tiny models of a test session are."""

from pathlib import Path
from typing import NamedTuple


class TinySources(NamedTuple):
    """Directories of tiny models in Hugging Face layout; tests that change one copy it first."""

    embedder: Path
    bert_reranker: Path
    xlmr_reranker: Path
