"""Quantization schemes side by side: ``build_models.py --compare``.

Every scheme is built and judged by the parity gate; then all are timed in turn, round after round, so that a
machine which slows down meanwhile slows all of them. The result is plain JSON, which table and page show.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from builder import pipeline
from builder.compare import page as compare_page
from builder.config.schema import BuildConfig
from builder.config.source_spec import describe_source
from builder.errors import BuildError, OutputError, disk_full
from builder.inputs import ModelInput
from builder.parity.evaluation import Evaluation
from builder.progress import Progress
from lambda_app.bundle import MANIFEST, ModelInfo
from lambda_app.cpu import available_cpus, cpu_features, integer_kernel

ROUNDS = 5
JSON_FILE, PAGE_FILE = "compare.json", "compare.html"
_TIMING_SECONDS = 600
Report = dict[str, Any]


def compare(
    configs: Sequence[BuildConfig],
    default: str,
    inputs: Sequence[ModelInput],
    out: Path,
    progress: Progress,
    *,
    evaluation: Evaluation | None = None,
    rounds: int = ROUNDS,
) -> Report:
    """Builds each config (they differ in their scheme), measures them, and writes both files into ``out``.

    A scheme that cannot be built is an entry that says why. ``default`` is the scheme to mark.

    Raises:
        BuildError: no scheme could be measured; ``code`` is ``compare_failed``.
        OutputError: ``out`` cannot be written, or the disk is full.
    """
    check_place(out)
    entries: list[Report] = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".bundles-") as scratch:
            for number, config in enumerate(configs, 1):
                progress.note(f"{config.quantization} ({number} of {len(configs)})")
                entries.append(_build(config, inputs, Path(scratch), progress, evaluation))
            _time(entries, Path(scratch), progress, rounds)
    except OSError as error:
        raise disk_full(error) or OutputError(f"cannot write to {out}: {error.strerror}") from error
    for entry in entries:
        entry["default"] = entry["scheme"] == default
    if all(entry["status"] == "failed" for entry in entries):
        raise BuildError(
            "no scheme could be measured: "
            + "; ".join(f"{entry['scheme']}: {entry['reason']}" for entry in entries),
            code="compare_failed",
        )
    features = cpu_features()
    report = {
        "schema_version": 1,
        "default": default,
        "machine": {
            "arch": configs[0].arch,
            "features": features,
            "kernel": integer_kernel(features),
            "threads": available_cpus(),
        },
        "rounds": rounds,
        "models": {
            one.task: {
                "id": one.config.id,
                "source": describe_source(one.files.source),
                "bytes": one.files.bytes,
            }
            for one in inputs
        },
        "schemes": entries,
    }
    _write(out / JSON_FILE, json.dumps(report, indent=1) + "\n")
    _write(out / PAGE_FILE, compare_page.page(report))
    return report


def check_place(out: Path) -> None:
    """Checks that a comparison may be written there; called before the first long step, too.

    Raises:
        OutputError: it is not a directory, or one that holds a bundle.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is not a directory: name another with --out")
    if (out / MANIFEST).exists():
        raise OutputError(
            f"{out} holds a bundle, and a comparison never touches one: name another with --out"
        )


def _build(
    config: BuildConfig,
    inputs: Sequence[ModelInput],
    scratch: Path,
    progress: Progress,
    evaluation: Evaluation | None,
) -> Report:
    """The entry of a scheme, timings still to come; the exported graphs are shared."""
    entry: Report = {"scheme": config.quantization, "status": "ok", "code": None, "reason": "", "models": {}}
    # The figures are wanted whether they pass or not; other CPUs change nothing in quality or speed here.
    config = replace(config, parity="warn", emulation="off")
    out, exports = scratch / config.quantization, scratch / "exports"
    exports.mkdir(exist_ok=True)
    try:
        built = pipeline.build(config, inputs, out, progress, evaluation=evaluation, exports=exports)
    except OutputError:
        raise
    except Exception as error:
        if (full := disk_full(error)) is not None:
            raise full from error
        return _failed(entry, error, progress)
    for one in built:
        entry["models"][one.info.task] = _facts(one.info)
        if one.assignment is not None:
            entry["models"][one.info.task]["assignment"] = dict(one.assignment)
    missed = [f"{one.info.task}: {line}" for one in built for line in one.info.parity["failures"]]
    if missed:
        entry.update(status="missed", code="parity_failed", reason="; ".join(missed))
    return entry


def _facts(model: ModelInfo) -> Report:
    return {
        "weight_bits": model.quantization.weight_bits,
        "instruction_sets": list(model.quantization.instruction_sets),
        "bytes": sum(file.bytes for file in model.files),
        "parity": {name: value for name, value in model.parity.items() if name not in ("tokenizer", "cpus")},
    }


def _failed(entry: Report, error: Exception, progress: Progress) -> Report:
    code = error.code if isinstance(error, BuildError) else "build_failed"
    message = " ".join(str(error).split()) or type(error).__name__
    progress.note(f"warning[{code}]: {entry['scheme']}: {message}")
    entry.update(status="failed", code=code, reason=message, models={})
    return entry


def _time(entries: Sequence[Report], scratch: Path, progress: Progress, rounds: int) -> None:
    """Adds timings to all entries that have models: medians over the rounds, with the extremes."""
    found: dict[tuple[str, str], list[Report]] = {}
    for number in range(rounds):
        with progress.step(f"time all schemes (round {number + 1} of {rounds})"):
            for entry in entries:
                try:
                    for task in entry["models"]:
                        one = _timing(scratch / entry["scheme"], task)
                        found.setdefault((entry["scheme"], task), []).append(one)
                except BuildError as error:
                    _failed(entry, error, progress)
    for entry in entries:
        shutil.rmtree(scratch / entry["scheme"], ignore_errors=True)
        for task, model in entry["models"].items():
            runs = found[entry["scheme"], task]
            shapes = runs[0]["latency_ms"]
            model["latency_ms"] = {
                shape: _spread([run["latency_ms"][shape] for run in runs]) for shape in shapes
            }
            model["load_ms"] = _spread([run["load_ms"] for run in runs])
            for name in ("first_resident_bytes", "resident_bytes"):
                model[name] = int(median(run[name] for run in runs))


def _timing(bundle: Path, task: str) -> Report:
    command = [
        sys.executable,
        "-m",
        "builder.compare.timing",
        str(bundle.absolute()),
        task,
        str(available_cpus()),
    ]
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[2],
            capture_output=True,
            text=True,
            timeout=_TIMING_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"timing took more than {_TIMING_SECONDS} s", code="timing_failed") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise BuildError(f"timing failed: {lines[-1][:200]}", code="timing_failed")
    measured: Report = json.loads(done.stdout)
    return measured


def _spread(values: Sequence[float]) -> Report:
    return {
        "median": round(median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
    }


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
