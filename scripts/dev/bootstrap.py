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
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
# The locks that each set satisfies; the last one is installed, as it contains those before it.
SETS = {"build": ["build"], "dev": ["build", "dev"]}
# With PyTorch's CPU build, and with the one for GPUs, which is what PyPI has for Linux.
CPU_BYTES, GPU_BYTES = 3 * 10**9, 7 * 10**9
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
# Enough to learn that an index cannot be reached; pip's own would try for minutes.
PROBE = ["--timeout", "5", "--retries", "0"]
# What runs in the function is compiled, as it is in the image; compiling the rest takes longer than
# installing it.
LOCKED = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]
WHEELS = ["--only-binary", ":all:", "--no-compile"]
# Larger downloads are named while they are fetched.
NAMED_MB = 10


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


def check_disk(needed: int = CPU_BYTES) -> None:
    """Fails where the disk has too little space.

    Raises:
        SetupError: there is less than the installation takes.
    """
    free = shutil.disk_usage(ROOT).free
    if free < needed:
        raise SetupError(f"{free / 1e9:.1f} GB are free here; this takes {needed / 1e9:.0f} GB")


def install(names: "list[str]") -> None:
    """Installs what has changed since it was last installed."""
    stale = [name for name in names if read_stamp(name) != fingerprint(name)]
    if not stale:
        return
    check_disk()
    last = names[-1]
    pip("the function's dependencies (about 70 MB to download)", [*LOCKED, "-r", lock("runtime")])
    pip(f"the {last} dependencies (about 150 MB)", [*LOCKED, "--no-compile", "-r", lock(last)])
    install_torch()
    for name in names:
        with open(stamp(name), "w") as stream:
            stream.write(fingerprint(name))


def install_torch() -> None:
    """Installs PyTorch: its CPU build, unless TORCH_INDEX_URL names another index or is empty (pip's own).

    Raises:
        SetupError: pip could not.
    """
    what, requirement = "PyTorch, which the build exports models with", ["-r", lock("torch")]
    index = torch_index()
    if index:
        # Its dependencies are locked among those of the build.
        pip(f"{what} (about 200 MB)", ["--no-deps", *WHEELS, *requirement, "--index-url", index])
        return
    pip(f"{what} (up to 1 GB)", ["--no-deps", *WHEELS, *requirement])
    if not imports("torch"):
        check_disk(GPU_BYTES)
        pip("the CUDA libraries that this PyTorch needs (up to 3 GB)", [*WHEELS, *requirement])


def torch_index() -> str:
    """Returns the index of PyTorch's wheels; empty for pip's own, as where the index cannot be reached."""
    chosen = os.environ.get("TORCH_INDEX_URL")
    if chosen is not None or sys.platform != "linux":
        return chosen or ""
    # What is looked up is a list of versions: some kilobytes.
    command = [PYTHON, "-m", "pip", "index", "versions", "torch", "--index-url", CPU_INDEX, *PROBE]
    null = subprocess.DEVNULL
    if subprocess.run(command, cwd=ROOT, stdout=null, stderr=null).returncode == 0:
        return CPU_INDEX
    say(
        f"{CPU_INDEX} cannot be reached: PyTorch comes from pip's own index, whose build for Linux may be "
        "the one for GPUs (TORCH_INDEX_URL names another index)"
    )
    return ""


def imports(name: str) -> bool:
    """Returns whether .venv's Python can import a module."""
    return subprocess.run([PYTHON, "-c", "import " + name], stderr=subprocess.DEVNULL).returncode == 0


def pip(what: str, arguments: "list[str]") -> None:
    """Runs ``pip install`` in .venv, and tells how far it is.

    Raises:
        SetupError: it failed; what pip wrote has been shown.
    """
    say(f"installing {what}")
    command = [PYTHON, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen([*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors)
        for line in process.stdout or ():
            tell(line.decode(errors="replace"))
        if process.wait():
            errors.seek(0)
            text = errors.read().decode(errors="replace")
            sys.stderr.write(text)
            raise SetupError(reason(text))


def tell(line: str) -> None:
    """Repeats of pip's output what takes long: large downloads, and that it installs what it has."""
    found = re.match(r" *Downloading (\S+) \(([\d.]+) (MB|GB)\)", line)
    if found and (found.group(3) == "GB" or float(found.group(2)) >= NAMED_MB):
        # Without the address of the index, which may hold a password.
        name = found.group(1).rsplit("/", 1)[-1]
        say(f"  downloading {name} ({found.group(2)} {found.group(3)})")
    elif line.startswith("Installing collected packages: "):
        say(f"  unpacking {line.count(',') + 1} packages")


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
