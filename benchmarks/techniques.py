"""What each technique of the cold start gives, one at a time: ``python -m benchmarks.techniques``.

Every variant is the function with one technique taken away, in a process of its own, interleaved over rounds:
time from process start until init is done and until the first embedding over HTTP is answered, CPU time, and
memory. There is no emulator here: what it adds is the same for all. ``--cold`` evicts the bundle from the
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

from benchmarks.harness.artefacts import ensure
from benchmarks.harness.paths import cache
from scripts.paths import ROOT

BUNDLE = "bundles/int8"


class Variant(NamedTuple):
    """A technique taken away: by Python that runs before the handler is imported, or by the environment."""

    name: str
    prelude: str = ""
    environment: tuple[tuple[str, str], ...] = ()


VARIANTS = (
    Variant("all techniques"),
    Variant("without the import pack", environment=(("IMPORT_PACK", ""),)),
    Variant("with the garbage collector during imports", "import gc; gc.disable = lambda: None"),
    Variant("with BLAS threads", environment=(("OPENBLAS_NUM_THREADS", str(os.cpu_count() or 1)),)),
    Variant("with the search for pydantic plugins", environment=(("PYDANTIC_DISABLE_PLUGINS", ""),)),
    Variant(
        "with all that FastAPI imports",
        "from contextlib import nullcontext\n"
        "import lambda_app.coldstart.lazy_modules\n"
        "lambda_app.coldstart.lazy_modules.stand_ins = lambda *modules: nullcontext()",
    ),
    Variant(
        "with weights repacked by onnxruntime",
        "from lambda_app.models.registry import Runtime\nRuntime._prepack = property(lambda self: True)",
    ),
    Variant(
        "without read-ahead", "import lambda_app.models.registry as r; r.read_ahead = lambda model: None"
    ),
    Variant("without marking tables as randomly read", "import mmap; mmap.MADV_RANDOM = mmap.MADV_NORMAL"),
)

# What each process runs; its one line of output is its figures.
PROBE = """
import json, os, sys, time
{prelude}
import lambda_app.handler as module
from lambda_app.coldstart.clock import process_started
from tests.support.fakes import Context, http_v2
started = process_started()
ready = time.monotonic() - started
answer = module.handler(http_v2("/v1/embeddings", {{"input": "What does a cold start cost?"}}), Context())
assert answer["statusCode"] == 200, answer
first = time.monotonic() - started
answer = module.handler(http_v2("/v1/rerank", {{"query": "cold start", "documents": ["a", "b"]}}), Context())
assert answer["statusCode"] == 200, answer
memory = {{}}
for line in open("/proc/self/smaps_rollup"):
    name, _, value = line.partition(":")
    if name in ("Rss", "Anonymous"):
        memory[name] = int(value.split()[0]) / 1024
print(json.dumps({{"ready": ready, "first embedding": first, "CPU": time.process_time(),
    "resident": memory["Rss"], "anonymous": memory["Anonymous"]}}))
"""
UNITS = {
    "ready": "ms",
    "first embedding": "ms",
    "CPU": "ms",
    "resident": "MB",
    "anonymous": "MB",
    "read": "%",
}


def measure(variant: Variant, bundle: Path, pack: Path, cpus: set[int], *, cold: bool) -> dict[str, float]:
    """One process' figures: seconds, megabytes, and percent of the bundle's bytes."""
    from benchmarks.harness.pagecache import evict, resident_bytes

    files = [path for path in bundle.rglob("*") if path.is_file()]
    if cold:
        evict(files)
    environment = {
        "PATH": os.defpath,
        "MODEL_DIR": str(bundle),
        "IMPORT_PACK": str(pack),
        "LOG_LEVEL": "ERROR",
        **dict(variant.environment),
    }
    command = [sys.executable, "-c", PROBE.format(prelude=variant.prelude)]
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cpus),
    )
    figures: dict[str, float] = json.loads(result.stdout.splitlines()[-1])
    if cold:
        figures["read"] = 100 * resident_bytes(files) / sum(path.stat().st_size for path in files)
    return figures


def main() -> int:
    """Measures a start without each technique in turn."""
    parser = argparse.ArgumentParser(description="What each technique of the cold start gives.")
    parser.add_argument("--rounds", type=int, default=7, help="processes of each variant (default 7)")
    parser.add_argument("--cpus", type=int, default=2, help="CPUs that a process may use (default 2)")
    parser.add_argument("--cold", action="store_true", help="evict the bundle from the page cache each time")
    options = parser.parse_args()
    ensure([BUNDLE])
    bundle = cache() / BUNDLE
    cpus = set(sorted(os.sched_getaffinity(0))[: options.cpus])
    samples: dict[str, list[dict[str, float]]] = {variant.name: [] for variant in VARIANTS}
    with tempfile.TemporaryDirectory() as directory:
        pack = Path(directory) / "imports.pack"
        packer = [sys.executable, "scripts/image/pack_imports.py", str(pack)]
        subprocess.run(packer, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for number in range(options.rounds + 1):
            for variant in VARIANTS:
                figures = measure(variant, bundle, pack, cpus, cold=options.cold)
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
