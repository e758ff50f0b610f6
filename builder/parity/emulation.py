"""Runs a bundle on a CPU that this machine is not: user-mode emulation by QEMU.

The emulated CPUs are the plainest of those that Lambda has: x86-64 with AVX2 and no VNNI, and arm64 as
Graviton2 is. Foreign architectures need a root directory with a Python of theirs and the function's wheels
(``python -m scripts.dev.arm64_root`` makes one).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builder.config.schema import Arch
from lambda_app.bundle import ModelInfo

ROOT = Path(__file__).resolve().parents[2]
# A cross-encoder of 12 layers takes about two minutes.
TIMEOUT_SECONDS = 900
ARM64_ROOT = "MODEL_ARM64_ROOT"


class EmulationUnavailableError(Exception):
    """The reason why nothing could be emulated, for the manifest."""


@dataclass(frozen=True, slots=True)
class Cpu:
    """An emulated CPU: QEMU's program and name for it, and the integer kernels onnxruntime takes there."""

    program: str
    name: str
    instruction_set: str


CPUS: Mapping[Arch, Cpu] = {
    "x86_64": Cpu("qemu-x86_64", "Haswell", "avx2"),
    "arm64": Cpu("qemu-aarch64", "neoverse-n1", "dotprod"),
}


def emulated_answers(model: ModelInfo, arch: Arch, environ: Mapping[str, str]) -> NDArray[np.float32]:
    """What the bundle answers on the emulated CPU of an architecture.

    Raises:
        EmulationUnavailableError: QEMU, or what it needs, is not here; or it gave no answer.
    """
    cpu = CPUS[arch]
    command, extra = _command(cpu, arch, environ)
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "answers.npy"
        arguments = ["-m", "builder.parity.answers", str(model.directory.parent), model.task, str(out)]
        try:
            done = subprocess.run(
                [*command, *arguments],
                cwd=ROOT,
                env={**_environment(environ), **extra},
                capture_output=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EmulationUnavailableError(f"{cpu.program} gave no answer in {TIMEOUT_SECONDS} s") from error
        except OSError as error:
            raise EmulationUnavailableError(f"{cpu.program} cannot be run: {error.strerror}") from error
        if done.returncode:
            lines = [
                line for line in done.stderr.decode(errors="replace").splitlines() if "warning:" not in line
            ]
            reason = lines[-1].strip()[:200] if lines else "it printed nothing"
            raise EmulationUnavailableError(
                f"{cpu.program} -cpu {cpu.name} ended with {done.returncode}: {reason}"
            )
        answers: NDArray[np.float32] = np.load(out)
        return answers


def _command(cpu: Cpu, arch: Arch, environ: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The emulator with the Python to run in it, and what that needs of the environment."""
    if sys.platform != "linux":
        raise EmulationUnavailableError("emulation of a CPU needs Linux")
    program = shutil.which(cpu.program) or shutil.which(f"{cpu.program}-static")
    if program is None:
        raise EmulationUnavailableError(f"{cpu.program} is not installed (Debian: qemu-user)")
    command = [program, "-cpu", cpu.name]
    if platform.machine() == {"x86_64": "x86_64", "arm64": "aarch64"}[arch]:
        return [*command, sys.executable], {}
    if arch == "x86_64":
        raise EmulationUnavailableError("there is no x86-64 Python here to run in the emulator")
    root = Path(environ.get(ARM64_ROOT) or ROOT / ".cache" / "arm64")
    python = root / "usr" / "bin" / "python3"
    if not python.exists():
        raise EmulationUnavailableError(
            "there is no arm64 Python here (`python -m scripts.dev.arm64_root` makes one)"
        )
    packages = os.pathsep.join([str(root / "wheels"), str(ROOT)])
    return [*command, "-L", str(root), str(python)], {"PYTHONPATH": packages, "PYTHONHOME": str(root / "usr")}


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    kept = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
    return {**{name: environ[name] for name in kept if name in environ}, "PYTHONDONTWRITEBYTECODE": "1"}
