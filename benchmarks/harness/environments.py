"""A virtual environment for each way of doing it, made once by pip from pinned versions, compiled to .pyc.

Site-packages that carry no .pyc cost every contender hundreds of milliseconds at every start; an image has
them, so these have them too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.paths import BENCHMARKS, cache
from benchmarks.harness.stamps import digest, is_made, make_once
from scripts.paths import ROOT

# What the function itself installs, with its hashes. Plain onnxruntime needs no more than that.
RUNTIME = "runtime"


class SetupError(RuntimeError):
    """An environment could not be made."""


def ensure(name: str) -> Path:
    """The Python of the environment ``name``, made if it is missing or its requirements have changed.

    Raises:
        SetupError: pip could not install it.
    """
    directory, key = cache() / "venvs" / name, _key(name)
    if not is_made(directory, key):
        print(f"making the environment {name} ({requirements(name).name})", file=sys.stderr)
        make_once(directory, key, lambda target: _make(name, target))
    return python(name)


def python(name: str) -> Path:
    """Where the environment's Python is."""
    return cache() / "venvs" / name / "bin" / "python"


def site_packages(name: str) -> Path:
    """Where the environment's packages are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return cache() / "venvs" / name / "lib" / version / "site-packages"


def requirements(name: str) -> Path:
    """The pinned versions of an environment."""
    if name == RUNTIME:
        return ROOT / "requirements" / "runtime.txt"
    return BENCHMARKS / "requirements" / f"{name}.txt"


def _key(name: str) -> str:
    return digest(sys.version, str(cache()), files=[requirements(name)])


def _make(name: str, directory: Path) -> None:
    # An image holds no pip, so its bytes count for nobody: this environment's pip installs into that one.
    _run(name, [sys.executable, "-m", "venv", "--without-pip", str(directory)])
    command = [sys.executable, "-m", "pip", "--python", str(python(name)), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--no-compile"]
    command += ["-r", str(requirements(name))]
    index = os.environ.get("TORCH_INDEX_URL")
    if index and "torch" in requirements(name).read_text(encoding="utf-8"):
        command += ["--extra-index-url", index]
    if name == RUNTIME:
        command.append("--require-hashes")
    _run(name, command)
    compile_tree(python(name), site_packages(name))


def compile_tree(interpreter: Path, directory: Path) -> None:
    """Compiles every module below a directory. What cannot be compiled (templates, old syntax) is left."""
    # Unchecked, as in an image: nothing changes after the build, so no source is looked at to trust its .pyc.
    command = [str(interpreter), "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode"]
    subprocess.run([*command, "unchecked-hash", str(directory)], check=False, stdout=subprocess.DEVNULL)


def _run(name: str, command: list[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        # pip's own words may hold the address of the user's package index: only its errors are repeated.
        told = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        reason = "; ".join(told)[:500] or "no network?"
        raise SetupError(f"cannot make the environment {name}: {reason}")
