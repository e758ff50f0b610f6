"""Makes what checking an arm64 bundle on another machine needs: ``python -m scripts.dev.arm64_root [DIR]``.

A directory (``.cache/arm64`` by default) with Debian's Python for arm64, the function's dependencies for it
out of the hash-locked set, and files that tell of a Graviton2's CPU, for QEMU's user emulation. Needs Debian
or a kin of it with ``apt-get`` and ``dpkg-deb``; any user can run it, and the system stays as it is.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from scripts.paths import ROOT

DEFAULT = ROOT / ".cache" / "arm64"
# As Debian 12 has it: the same minor version as the wheels that are fetched.
PYTHON = "3.11"
PACKAGES = (
    *("libc6", "libstdc++6", "libgcc-s1", "zlib1g", "libexpat1", "libssl3", "libffi8", "libbz2-1.0"),
    *("liblzma5", "libsqlite3-0", "libuuid1"),
    *(f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"),
)
# onnxruntime reads these, and QEMU would show it this machine's: the wrong architecture's ends it.
CPU_FILES = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 243.75\n"
    "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp ssbs\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x3\nCPU part\t: 0xd0c\n"
    "CPU revision\t: 1\n\n",
    "sys/devices/system/cpu/possible": "0\n",
    "sys/devices/system/cpu/present": "0\n",
}


class RootError(Exception):
    """It cannot be made; the message says why."""


def make(directory: Path) -> None:
    """Makes it beside its place, and puts it there when it is whole.

    Raises:
        RootError: a program or a package is missing.
    """
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise RootError(f"{program} is missing: this needs Debian or a kin of it")
    stage = directory.with_name(f"{directory.name}.new")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    try:
        _debian(stage)
        _wheels(stage / "wheels")
        for name, content in CPU_FILES.items():
            path = stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="ascii")
        shutil.rmtree(directory, ignore_errors=True)
        stage.rename(directory)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _debian(root: Path) -> None:
    """Unpacks packages of another architecture, with lists of its own: the system's stay as they are."""
    apt = root / "apt"
    for part in ("lists/partial", "cache/archives/partial", "packages"):
        (apt / part).mkdir(parents=True)
    (apt / "status").touch()
    options = {
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        "APT::Sandbox::User": "",
        "Dir::State::lists": apt / "lists",
        "Dir::Cache": apt / "cache",
        "Dir::State::status": apt / "status",
    }
    command = [
        "apt-get",
        "-qq",
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
    ]
    _run([*command, "update"], apt)
    _run([*command, "download", *PACKAGES], apt / "packages")
    for package in sorted((apt / "packages").glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(root)], apt)
    shutil.rmtree(apt)
    (root / "usr" / "bin" / "python3").symlink_to(f"python{PYTHON}")


def _wheels(target: Path) -> None:
    platforms = [f"manylinux_2_{minor}_aarch64" for minor in (28, 27, 26, 24, 17)]
    _run(
        [
            *(
                sys.executable,
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--no-compile",
            ),
            *("--target", str(target), "--python-version", PYTHON, "--implementation", "cp"),
            *(
                word
                for platform in (*platforms, "manylinux2014_aarch64")
                for word in ("--platform", platform)
            ),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:"),
            *("-r", str(ROOT / "requirements" / "runtime.txt")),
        ],
        ROOT,
    )


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        output = [line for line in done.stderr.splitlines() if line.strip()]
        raise RootError(f"{Path(command[0]).name} failed: {output[-1] if output else done.returncode}")


def main(arguments: list[str]) -> int:
    """Makes the directory that is named, or the default one."""
    directory = Path(arguments[0]).absolute() if arguments else DEFAULT
    try:
        make(directory)
    except (RootError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"arm64 Python and packages are in {directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
