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
from scripts.dev.environments import EnvironmentSetupError, create, install
from scripts.paths import ROOT

# What the function itself installs, with its hashes. Plain onnxruntime needs no more than that.
RUNTIME = "runtime"


class SetupError(RuntimeError):
    """An environment could not be made."""


def ensure(name: str) -> Path:
    """Returns the Python of the environment ``name``, made if it is missing or its requirements have changed.

    Raises:
        SetupError: pip could not install it.
    """
    directory, key = cache() / "venvs" / name, _key(name)
    if not is_made(directory, key):
        print(f"making the environment {name} ({requirements(name).name})", file=sys.stderr)
        make_once(directory, key, lambda target: _make(name, target))
    return python(name)


def python(name: str) -> Path:
    """Returns where the environment's Python is."""
    return cache() / "venvs" / name / "bin" / "python"


def site_packages(name: str) -> Path:
    """Returns where the environment's packages are."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return cache() / "venvs" / name / "lib" / version / "site-packages"


def requirements(name: str) -> Path:
    """Returns the file with the pinned versions of an environment."""
    if name == RUNTIME:
        return ROOT / "requirements" / "runtime.txt"
    return BENCHMARKS / "requirements" / f"{name}.txt"


def _key(name: str) -> str:
    return digest(sys.version, str(cache()), files=[requirements(name)])


def _make(name: str, directory: Path) -> None:
    options = []
    index = os.environ.get("TORCH_INDEX_URL")
    if index and "torch" in requirements(name).read_text(encoding="utf-8"):
        options += ["--extra-index-url", index]
    if name == RUNTIME:
        options.append("--require-hashes")
    try:
        # An image holds no pip, so its bytes are not counted: another environment's pip installs into this.
        install(create(directory), requirements(name), *options)
    except EnvironmentSetupError as error:
        raise SetupError(f"cannot make the environment {name}: {error}") from None
    compile_tree(python(name), site_packages(name))


def compile_tree(interpreter: Path, directory: Path) -> None:
    """Compiles every module below a directory. What cannot be compiled (templates, old syntax) is left."""
    # Unchecked, as in an image: nothing changes after the build, so no source is looked at to trust its .pyc.
    command = [str(interpreter), "-m", "compileall", "-q", "-q", "-j", "0", "--invalidation-mode"]
    subprocess.run([*command, "unchecked-hash", str(directory)], check=False, stdout=subprocess.DEVNULL)
