"""What each part of ``int8`` brings: ``python -m benchmarks.ablation [--config models.minilm.toml]``.

Builds the embedding model with parts of the scheme left out, and prints for each how near its vectors of the
parity gate's texts are to those of the FP32 graph, and the time to that of the whole scheme. Builds share the
exported graph. Times are taken in turn, each in a process of its own, and are medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from builder import pipeline
from builder.cli import cache_directory
from builder.config.load import load_config
from builder.config.schema import NO_MODEL, Arch, Overrides
from builder.inputs import gather_inputs
from builder.parity.data import load_texts
from builder.parity.fidelity import compare_vectors
from builder.progress import Progress
from builder.quantization import schemes
from builder.quantization.calibration import Batch
from builder.quantization.int8 import Recipe, quantize_int8
from builder.quantization.rounding import ChannelLimits
from lambda_app.bundle import Bundle
from lambda_app.cpu import available_cpus
from lambda_app.models.embedder import Embedder
from scripts.paths import ROOT

_PLAIN = Recipe(smooth=False, compensate=False)
ALL, FP32 = "all (`int8`)", "none"
# In the order of the table. By token, a fused attention keeps its constant step.
VARIANTS: dict[str, Recipe] = {
    "constant steps alone": replace(_PLAIN, per_token=False),
    "steps for each token alone": replace(_PLAIN, per_token=True),
    "the chosen of both alone": _PLAIN,
    "smoothing alone, constant steps": replace(_PLAIN, smooth=True, per_token=False),
    "GPTQ alone, constant steps": replace(_PLAIN, compensate=True, per_token=False),
    "all, with constant steps": Recipe(per_token=False),
    "all, with steps for each token": Recipe(per_token=True),
    "all but smoothing": Recipe(smooth=False),
    "all but GPTQ": Recipe(compensate=False),
    "all but moved biases": Recipe(move_biases=False),
    "all, weights of at most 64 instead of pairs of 128": Recipe(limits=ChannelLimits(64)),
    ALL: Recipe(),
}
_FIGURES = ("mean_cosine", "min_cosine", "mean_centred_cosine", "top10_overlap")
_SHAPES = ("1x16", "1x128", "16x128")


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=ROOT / "models.minilm.toml")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="a directory for the bundles; what is there is not rebuilt")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        root = options.keep or Path(scratch)
        root.mkdir(exist_ok=True)
        bundles = build(options.config, root)
        reference = bundles.pop(FP32)
        times = [[timing(bundle) for bundle in bundles.values()] for _ in range(options.rounds)]
        print(f"medians of {options.rounds} rounds, {available_cpus()} threads; times to those of {ALL}")
        print("| | " + " | ".join([*_FIGURES, *_SHAPES]) + " |\n" + "|---" * 8 + "|")
        expected = vectors(reference)
        for row, (name, bundle) in enumerate(bundles.items()):
            parity = compare_vectors(expected, vectors(bundle))
            figures = [f"{parity[figure]:.4f}" for figure in _FIGURES]
            ratios = [median(one[row][shape] / one[-1][shape] for one in times) for shape in _SHAPES]
            print(f"| {name} | " + " | ".join([*figures, *(f"{ratio:.2f}" for ratio in ratios)]) + " |")


def vectors(bundle: Path) -> NDArray[np.float32]:
    """Returns the vectors of the gate's texts."""
    model = Bundle.open(bundle).embedding
    if model is None:
        raise SystemExit("the bundle has no embedding model")
    found: NDArray[np.float32] = (
        Embedder.open(model, threads=available_cpus()).embed(load_texts(), "none").vectors
    )
    return found


def build(path: Path, root: Path) -> dict[str, Path]:
    """Returns the bundle of each variant, built below a directory where it is not there yet."""
    overrides = Overrides(reranker=NO_MODEL, quantization="int8", parity="off")
    config = load_config(path, overrides, {})
    progress = Progress()
    inputs = gather_inputs(config, cache_directory(os.environ), progress)
    exports = root / "exports"
    exports.mkdir(exist_ok=True)
    bundles = {}
    for number, (name, recipe) in enumerate([*VARIANTS.items(), (FP32, None)]):
        bundles[name] = out = root / f"variant-{number}"
        if (out / "manifest.json").exists():
            continue
        progress.note(name)
        if recipe is None:
            pipeline.build(replace(config, quantization=FP32), inputs, out, progress, exports=exports)
            continue
        scheme = replace(schemes.SCHEMES["int8"], quantize=Quantize(recipe))
        with patch.dict(schemes.SCHEMES, {"int8": scheme}):
            pipeline.build(config, inputs, out, progress, exports=exports)
    return bundles


class Quantize:
    """The scheme with parts left out."""

    def __init__(self, recipe: Recipe) -> None:
        """Takes what to leave out."""
        self._recipe = recipe

    def __call__(
        self, source: Path, target: Path, arch: Arch, batches: Sequence[Batch], _recorded: Any
    ) -> schemes.Scales:
        """Quantizes a graph."""
        bits = 7 if arch == "x86_64" else 8
        return quantize_int8(source, target, batches, bits=bits, recipe=self._recipe).scales


def timing(bundle: Path) -> dict[str, float]:
    """Returns milliseconds of each shape, from a process of its own."""
    command = [sys.executable, "-m", "builder.compare.timing", str(bundle), "embedding"]
    done = subprocess.run([*command, str(available_cpus())], capture_output=True, check=True, cwd=ROOT)
    found: dict[str, float] = json.loads(done.stdout)["latency_ms"]
    return found


if __name__ == "__main__":
    main()
