"""Where the benchmark keeps what it makes: below ``.cache/bench``, or below BENCH_CACHE."""

from __future__ import annotations

import os
from pathlib import Path

from scripts.paths import ROOT

BENCHMARKS = ROOT / "benchmarks"
RESULTS = BENCHMARKS / "results"
# The real WordPiece tokenizer comes out of the package that the embedded default comes from.
DOWNLOADS = ROOT / ".cache" / "models"


def cache() -> Path:
    """Returns the cache directory, several gigabytes after a full run."""
    chosen = os.environ.get("BENCH_CACHE")
    return Path(chosen).expanduser().absolute() if chosen else ROOT / ".cache" / "bench"
