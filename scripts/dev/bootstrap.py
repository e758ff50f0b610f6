"""Makes .venv with the pinned dependencies: ``python3 scripts/dev/bootstrap.py build|dev``.

Run by the machine's own Python, whatever its version, before anything is installed: standard library only,
and no syntax that an old Python would refuse before it could say that it is too old (3.6 reads it).
"""

import hashlib
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
OLDEST, NEWEST = (3, 11), (3, 13)
# The locks that each set satisfies; the last one is installed, as it contains those before it.
SETS = {"build": ["build"], "dev": ["build", "dev"]}
# With PyTorch's CPU build, and with the one for GPUs, which is what PyPI has for Linux.
CPU_BYTES, GPU_BYTES = 3 * 10**9, 7 * 10**9


class SetupError(Exception):
    """Something that the user has to mend; the message says how."""


def main(arguments: "list[str]") -> int:
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
    """Whether a .venv is there and whole: not one left half-made, or one whose Python is gone."""
    check = f"import sys, pip; sys.exit(not ({OLDEST!r} <= sys.version_info[:2] <= {NEWEST!r}))"
    try:
        return subprocess.run([python, "-c", check], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


def make_venv() -> None:
    version = "{}.{}".format(*sys.version_info)
    if not OLDEST <= sys.version_info[:2] <= NEWEST:
        raise SetupError(
            f"this is Python {version}, and 3.11 to 3.13 are supported: name another, as in "
            "`make demo PYTHON=python3.12`"
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
    say(f"installing {what}")
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, cwd=ROOT, stderr=subprocess.PIPE)
    if result.returncode:
        told = result.stderr.decode(errors="replace")
        sys.stderr.write(told)
        raise SetupError(reason(told))


def reason(told: str) -> str:
    if "No space left" in told:
        return "the disk is full"
    if "hashes" in told.lower() and "do not match" in told.lower():
        return "a package is not the one that the lock names: its hash differs"
    # The last is what pip says of every package when it has seen no index at all.
    network = ("NewConnectionError", "name resolution", "Max retries", "timed out", "from versions: none")
    if any(word in told for word in network):
        return "the package index cannot be reached: is there a network, or a proxy to configure for pip?"
    return "pip could not install the pinned dependencies (see above)"


def lock(name: str) -> str:
    return os.path.join("requirements", name + ".txt")


def stamp(name: str) -> str:
    return os.path.join(VENV, ".installed-" + name)


def fingerprint(name: str) -> str:
    digest = hashlib.sha256()
    for part in ("runtime", "torch", name):
        with open(os.path.join(ROOT, lock(part)), "rb") as stream:
            digest.update(stream.read())
    return digest.hexdigest()


def read_stamp(name: str) -> str:
    try:
        with open(stamp(name)) as stream:
            return stream.read()
    except OSError:
        return ""


def say(text: str) -> None:
    print(f"set-up: {text}", file=sys.stderr)
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
