"""What each technique of the cold start gives, one at a time: ``python -m benchmarks.techniques``.

Every variant is the function with one technique taken away, in a process of its own, interleaved over rounds:
time from process start until init is done and until the first embedding over HTTP is answered, CPU time, and
memory. It runs without an emulator, which would add the same to all. ``--cold`` evicts the bundle from the
page cache before each process and counts how much of it came back.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import artefacts, pagecache
from benchmarks.harness.paths import cache
from benchmarks.measure import workload
from benchmarks.measure.technique_probe import Patch
from scripts.paths import ROOT

BUNDLE = "bundles/int8"


class Variant(NamedTuple):
    """A technique taken away: by patches of the start or of the packing of imports, or by the environment."""

    name: str
    patches: tuple[Patch, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    packing: tuple[Patch, ...] = ()


PACKER = "scripts.image.pack_imports"
VARIANTS = (
    Variant("all techniques"),
    Variant("without the import pack", environment=(("IMPORT_PACK", ""),)),
    Variant(
        "with docstrings in the import pack",
        packing=(
            Patch(PACKER, "DOCUMENTATION", "frozenset()"),
            Patch(PACKER, "_WithoutDocstrings.visit", "lambda self, tree: tree"),
        ),
    ),
    Variant("with TypedDicts in the import pack", packing=(Patch(PACKER, "TYPED_DICTS", "frozenset()"),)),
    Variant(
        "with texts compiled at each start",
        (Patch("lambda_app.coldstart.compiled_strings", "patches", "lambda content: {}"),),
    ),
    Variant("with the garbage collector during imports", (Patch("gc", "disable", "lambda: None"),)),
    Variant("with BLAS threads", environment=(("OPENBLAS_NUM_THREADS", str(os.cpu_count() or 1)),)),
    Variant("with the search for pydantic plugins", environment=(("PYDANTIC_DISABLE_PLUGINS", ""),)),
    Variant(
        "with all that FastAPI imports",
        (
            Patch(
                "lambda_app.coldstart.lazy_modules",
                "lazy_modules",
                "lambda *modules: __import__('contextlib').nullcontext()",
            ),
        ),
    ),
    Variant(
        "with weights repacked by onnxruntime",
        (Patch("lambda_app.models.registry", "ModelRegistry._prepack", "property(lambda self: True)"),),
    ),
    Variant(
        "without read-ahead",
        (
            Patch(
                "lambda_app.models.weights",
                "WeightsReader.ask_for_weights",
                "lambda self: None",
            ),
            Patch("lambda_app.models.weights", "WeightsReader.ask_for_rows", "lambda self, ids: None"),
        ),
    ),
    Variant(
        "without marking tables as randomly read",
        (Patch("mmap", "MADV_RANDOM", "importlib.import_module('mmap').MADV_NORMAL"),),
    ),
)
UNITS = {
    "ready": "ms",
    "first embedding": "ms",
    "CPU": "ms",
    "resident": "MB",
    "anonymous": "MB",
    "read": "%",
}


def measure(variant: Variant, bundle: Path, pack: Path, cpus: set[int], *, cold: bool) -> dict[str, float]:
    """Returns the figures of one process: seconds, megabytes, and percent of the bundle's bytes.

    Raises:
        subprocess.CalledProcessError: it failed, or a patch does not fit the code.
    """
    files = [path for path in bundle.rglob("*") if path.is_file()]
    if cold:
        pagecache.evict(files)
    environment = {
        "PATH": os.defpath,
        "MODEL_DIR": str(bundle),
        "IMPORT_PACK": str(pack),
        "LOG_LEVEL": "ERROR",
        **dict(variant.environment),
    }
    embed = workload.embed_event(["What does a cold start cost?"])
    arguments = (
        [tuple(patch) for patch in variant.patches],
        dict(embed),
        dict(workload.rerank_event("cold start", ["a", "b"])),
    )
    result = subprocess.run(
        [sys.executable, "-c", f"from benchmarks.measure.technique_probe import main; main(*{arguments!r})"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    if cold:
        figures["read"] = 100 * pagecache.resident_bytes(files) / pagecache.total_bytes(files)
    return figures


def write_pack(variant: Variant, directory: Path) -> Path:
    """Writes the import pack of a variant into a directory, unless an equal one is there; returns its path.

    Raises:
        subprocess.CalledProcessError: it failed, or a patch does not fit the code.
    """
    packing = [tuple(patch) for patch in variant.packing]
    pack = directory / f"{VARIANTS.index(variant) if packing else 0}.pack"
    if not pack.exists():
        # The packer packs what is imported after it: it comes first, and patches after it.
        script = (
            f"from {PACKER} import main; from benchmarks.measure.technique_probe import apply; "
            f"apply({packing!r}); raise SystemExit(main([{str(pack)!r}]))"
        )
        subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return pack


def main() -> int:
    """Measures all variants and prints the table."""
    parser = argparse.ArgumentParser(description="What each technique of the cold start gives.")
    parser.add_argument("--rounds", type=int, default=7, help="processes of each variant (default 7)")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs that a process may use (default 2)")
    parser.add_argument("--cold", action="store_true", help="evict the bundle from the page cache each time")
    options = parser.parse_args()
    artefacts.ensure([BUNDLE])
    bundle = cache() / BUNDLE
    cpus = set(sorted(os.sched_getaffinity(0))[: options.cpus])
    samples: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as directory:
        packs = {variant.name: write_pack(variant, Path(directory)) for variant in VARIANTS}
        for number in range(options.rounds + 1):
            for variant in VARIANTS:
                figures = measure(variant, bundle, packs[variant.name], cpus, cold=options.cold)
                # The first round fills caches, and is not counted.
                if number:
                    samples[variant.name].append(figures)
            print(f"round {number} of {options.rounds}", file=sys.stderr)
    _print(samples)
    return 0


def _print(samples: dict[str, list[dict[str, float]]]) -> None:
    names = list(next(iter(samples.values()))[0])
    print("| variant | " + " | ".join(f"{name} ({UNITS[name]})" for name in names) + " |")
    print("|---|" + "---|" * len(names))
    for variant, runs in samples.items():
        cells = []
        for name in names:
            scale = 1000 if UNITS[name] == "ms" else 1
            cells.append(f"{statistics.median(run[name] for run in runs) * scale:.0f}")
        print(f"| {variant} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    sys.exit(main())
