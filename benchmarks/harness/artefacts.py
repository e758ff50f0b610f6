"""Models and bundles that a run needs: their names, what each is made from, and how to have them made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from benchmarks.harness.paths import BENCHMARKS
from benchmarks.harness.stamps import digest
from scripts.paths import ROOT

EMBEDDER = "e5-base-v2"
RERANKER = "bge-reranker-base"
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

    They are made in a process of their own: PyTorch's memory and threads would disturb a measurement.

    Raises:
        subprocess.CalledProcessError: an artefact could not be made; standard error says why.
    """
    subprocess.run([sys.executable, "-m", "benchmarks.harness.prepare", *names], cwd=ROOT, check=True)


def with_dependencies(names: Sequence[str]) -> list[str]:
    """Returns ``names`` and what they are made from, in the order in which to make them."""
    needed = {dependency for name in names for dependency in NEEDS[name]}
    return [name for name in NEEDS if name in needed or name in names]


def key(name: str) -> str:
    """Returns one hash of everything that an artefact is made from."""
    harness = BENCHMARKS / "harness"
    if name.startswith("models/"):
        sources = ["random_models.py", *(["synthetic_tokenizer.py"] if name.endswith(RERANKER) else [])]
        return digest(name, files=[harness / source for source in sources])
    parts = [key(dependency) for dependency in NEEDS[name]]
    if name.startswith("onnx/"):
        return digest(name, *parts, files=[harness / "single_file.py"])
    manifest = ROOT / "lambda_app" / "bundle" / "manifest.py"
    builder = [*sorted((ROOT / "builder").rglob("*.py")), manifest, ROOT / "models.toml"]
    return digest(name, *parts, files=[*builder, *(ROOT / "requirements").glob("build.txt")])
