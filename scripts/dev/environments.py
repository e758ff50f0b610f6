"""Makes virtual environments, of the project and of tools that do not fit in it.

``python -m scripts.dev.environments NAME`` makes ``.venvs/NAME`` from ``requirements/NAME.txt`` and prints
the directory of its programs. Standard library only: the project's own environment is made with it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.paths import ROOT
from scripts.pip import PipError, run_pip


class EnvironmentSetupError(RuntimeError):
    """An environment could not be made; the message says why."""


def create(directory: Path, *, with_pip: bool = False) -> Path:
    """Makes an empty virtual environment with this Python, in place of what is there.

    Returns:
        The environment's Python.

    Raises:
        EnvironmentSetupError: this Python cannot make one.
    """
    command = [sys.executable, "-m", "venv", "--clear", *([] if with_pip else ["--without-pip"])]
    result = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stdout + result.stderr).strip() or "python -m venv gave no reason"
        if "ensurepip" in reason:
            reason = "this Python lacks its venv module (on Debian and Ubuntu: apt install python3-venv)"
        raise EnvironmentSetupError(reason)
    return directory / "bin" / "python"


def install(python: Path, requirements: Path, *options: str) -> None:
    """Installs a file of requirements as wheels into the environment of a Python, which needs no pip.

    Args:
        python: the environment's Python.
        requirements: the file; its pins are taken as they are.
        options: more of pip's options, such as ``--require-hashes``.

    Raises:
        EnvironmentSetupError: pip could not.
    """
    with _python_with_pip() as installer:
        command = ["--python", str(python), "install", "--only-binary", ":all:", "--no-compile", *options]
        try:
            run_pip([*command, "-r", str(requirements)], python=installer)
        except PipError as error:
            raise EnvironmentSetupError(f"pip could not install {requirements.name}: {error}") from None


def ensure_environment(name: str) -> Path:
    """Returns the directory of programs of ``.venvs/NAME``, made anew when its lock has changed.

    Raises:
        EnvironmentSetupError: it could not be made.
    """
    lock, venv = ROOT / "requirements" / f"{name}.txt", ROOT / ".venvs" / name
    stamp = venv / ".installed"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"making {venv.relative_to(ROOT)} ({lock.relative_to(ROOT)})", file=sys.stderr)
        install(create(venv), lock, "--no-deps", "--require-hashes")
        stamp.write_text(wanted, encoding="utf-8")
    return venv / "bin"


@contextmanager
def _python_with_pip() -> Iterator[str]:
    """Gives this Python, or one made for the purpose where this has no pip, as Debian's own."""
    if importlib.util.find_spec("pip") is not None:
        yield sys.executable
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield str(create(Path(scratch), with_pip=True))


def main(arguments: list[str]) -> int:
    """Makes the named environment."""
    if len(arguments) != 1:
        print("usage: python -m scripts.dev.environments NAME", file=sys.stderr)
        return 2
    try:
        print(ensure_environment(arguments[0]))
    except EnvironmentSetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
