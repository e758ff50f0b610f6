"""Makes .venv with the pinned dependencies: ``python3 scripts/dev/bootstrap.py build|dev``.

Run by the machine's own Python, whatever its version, before anything is installed: standard library only,
and no syntax that an old Python would refuse before it could say that it is too old (3.6 reads it).
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
# The locks that each set satisfies; the last one is installed, as it contains those before it.
SETS = {"build": ["build"], "dev": ["build", "dev"]}
# With PyTorch's CPU build, and with the one for GPUs, which is what PyPI has for Linux.
CPU_BYTES, GPU_BYTES = 3 * 10**9, 7 * 10**9


class SetupError(Exception):
    """Something that the user has to mend; the message says how."""


def supported() -> "tuple[tuple[int, int], tuple[int, int]]":
    """Returns the oldest and the newest supported Python, from pyproject.toml's ``requires-python``."""
    with open(os.path.join(ROOT, "pyproject.toml"), encoding="utf-8") as stream:
        found = re.search(r'^requires-python = ">=3\.(\d+),<3\.(\d+)"$', stream.read(), re.MULTILINE)
    if found is None:
        raise SetupError("pyproject.toml has no requires-python of the form >=3.N,<3.M")
    return (3, int(found.group(1))), (3, int(found.group(2)) - 1)


def main(arguments: "list[str]") -> int:
    """Makes .venv where it is missing, and installs what has changed."""
    if len(arguments) != 1 or arguments[0] not in SETS:
        print("usage: bootstrap.py build|dev", file=sys.stderr)
        return 2
    try:
        if not usable(PYTHON):
            make_venv()
        install(SETS[arguments[0]])
    except SetupError as error:
        print(f"set-up failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def usable(python: str) -> bool:
    """Returns whether a .venv is there and whole: not one left half-made, or one whose Python is gone."""
    oldest, newest = supported()
    check = f"import sys, pip; sys.exit(not ({oldest!r} <= sys.version_info[:2] <= {newest!r}))"
    try:
        return subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    """Makes an empty .venv with this Python.

    Raises:
        SetupError: this Python is not supported or cannot make one, or the disk is full.
    """
    oldest, newest = supported()
    version = "{}.{}".format(*sys.version_info)
    if not oldest <= sys.version_info[:2] <= newest:
        raise SetupError(
            "this is Python {}, and {}.{} to {}.{} are supported: name another, as in "
            "`make demo PYTHON=python{}.{}`".format(version, *oldest + newest + newest)
        )
    check_disk()
    say(f"making .venv with Python {version}")
    # Only a Python that is new enough gets here, and only such a one can read these modules.
    sys.path.insert(0, ROOT)
    from pathlib import Path

    from scripts.dev.environments import EnvironmentSetupError, create

    try:
        create(Path(VENV), with_pip=True)
    except EnvironmentSetupError as error:
        raise SetupError(str(error)) from None


def check_disk() -> None:
    """Fails where the disk has too little space, and warns where it may have.

    Raises:
        SetupError: there is less than any installation takes.
    """
    free = shutil.disk_usage(ROOT).free
    if free < CPU_BYTES:
        raise SetupError(f"{free / 1e9:.1f} GB are free here; this takes {CPU_BYTES / 1e9:.0f} GB")
    if free < GPU_BYTES and sys.platform == "linux" and not os.environ.get("TORCH_INDEX_URL"):
        say(
            f"{free / 1e9:.1f} GB are free here, and PyTorch for GPUs takes up to {GPU_BYTES / 1e9:.0f} GB: "
            "set TORCH_INDEX_URL to PyTorch's index of CPU wheels, which are far smaller"
        )


def install(names: "list[str]") -> None:
    """Installs what has changed since it was last installed."""
    stale = [name for name in names if read_stamp(name) != fingerprint(name)]
    if not stale:
        return
    check_disk()
    # What runs in the function is compiled, as it is in the image; compiling the rest takes longer than
    # installing it.
    locked = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
    pip("the function's dependencies", [*locked, "-r", lock("runtime")])
    last = names[-1]
    pip(f"the {last} dependencies", [*locked, "--no-compile", "-r", lock(last)])
    index = os.environ.get("TORCH_INDEX_URL")
    torch = ["--no-compile", "-r", lock("torch"), *(["--index-url", index] if index else [])]
    pip("PyTorch, which the build exports models with", torch)
    for name in names:
        with open(stamp(name), "w") as stream:
            stream.write(fingerprint(name))


def pip(what: str, arguments: "list[str]") -> None:
    """Runs ``pip install`` in .venv.

    Raises:
        SetupError: it failed; what pip wrote has been shown.
    """
    say(f"installing {what}")
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE)
    if result.returncode:
        text = result.stderr.decode(errors="replace")
        sys.stderr.write(text)
        raise SetupError(reason(text))


def reason(text: str) -> str:
    """Returns in one line why pip failed, from what it wrote to standard error."""
    if "No space left" in text:
        return "the disk is full"
    if "hashes" in text.lower() and "do not match" in text.lower():
        return "a package is not the one that the lock names: its hash differs"
    # The last is what pip says of every package when it has seen no index at all.
    network = ("NewConnectionError", "name resolution", "Max retries", "timed out", "from versions: none")
    if any(word in text for word in network):
        return "the package index cannot be reached: is there a network, or a proxy to configure for pip?"
    return "pip could not install the pinned dependencies (see above)"


def lock(name: str) -> str:
    """Returns the path of a lock, relative to the project."""
    return os.path.join("requirements", name + ".txt")


def stamp(name: str) -> str:
    """Returns the path of the file that says which version of a set is installed."""
    return os.path.join(VENV, ".installed-" + name)


def fingerprint(name: str) -> str:
    """Returns a hash over all locks that a set is installed from."""
    digest = hashlib.sha256()
    for part in ("runtime", "torch", name):
        with open(os.path.join(ROOT, lock(part)), "rb") as stream:
            digest.update(stream.read())
    return digest.hexdigest()


def read_stamp(name: str) -> str:
    """Returns the fingerprint that was installed; empty where none was."""
    try:
        with open(stamp(name)) as stream:
            return stream.read()
    except OSError:
        return ""


def say(text: str) -> None:
    """Writes a line to standard error."""
    print(f"set-up: {text}", file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
