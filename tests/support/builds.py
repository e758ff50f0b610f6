"""Runs builds: in this process, or as a user would, with the command line in another one."""

import io
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from builder.config.load import load_config
from builder.config.schema import BuildConfig, Overrides
from tests.support.tiny_models import config_text

ROOT = Path(__file__).resolve().parents[2]


def write_config(directory: Path, **options: Any) -> Path:
    """``config_text`` as a file."""
    path = directory / "models.toml"
    path.write_text(config_text(**options), encoding="utf-8")
    return path


def tiny_config(directory: Path, *, replay: Path | None = None, **options: Any) -> BuildConfig:
    """``config_text`` as it is read."""
    return load_config(write_config(directory, **options), Overrides(replay=replay), {})


def build_bundle(directory: Path, *, evaluation: Any = None, **options: Any) -> Path:
    """Builds ``directory/models`` in this process and returns it."""
    from builder import pipeline
    from builder.inputs import gather_inputs
    from builder.progress import Progress

    config = tiny_config(directory, **options)
    progress = Progress(io.StringIO())
    out = directory / "models"
    inputs = gather_inputs(config, directory / "cache", progress)
    pipeline.build(config, inputs, out, progress, evaluation=evaluation)
    return out


def run_cli(
    *arguments: str | Path,
    env: Mapping[str, str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.CompletedProcess[str]:
    """``python build_models.py ...``, with none of the build's variables from the outside."""
    return subprocess.run(
        [sys.executable, str(ROOT / "build_models.py"), *map(str, arguments)],
        env={**_bare_environment(), **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        preexec_fn=before,
    )


def _bare_environment() -> dict[str, str]:
    ours = (
        "MODEL_",
        "EMBEDDING_MODEL",
        "RERANKER_MODEL",
        "USE_QUANTIZATION",
        "QUANTIZATION",
        "HF_",
        "SOURCE_DATE_EPOCH",
    )
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def only_error(done: subprocess.CompletedProcess[str], code: str) -> str:
    """The one error line of a failed run, its code checked; there is no traceback."""
    errors = [line for line in done.stderr.splitlines() if line.startswith("error[")]
    assert len(errors) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert errors[0].startswith(f"error[{code}]: "), errors[0]
    return errors[0]
