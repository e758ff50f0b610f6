"""Environments of their own for tools that do not fit the project's: ``.venvs/NAME`` from
``requirements/NAME.txt``."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def ensure_environment(name: str) -> Path:
    """The environment's directory of programs, made anew when its lock has changed."""
    lock, venv = ROOT / "requirements" / f"{name}.txt", ROOT / ".venvs" / name
    python, stamp = venv / "bin" / "python", venv / ".installed"
    wanted = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return venv / "bin"
    print(f"making {venv.relative_to(ROOT)} ({lock.relative_to(ROOT)})", file=sys.stderr)
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(venv)], check=True)
    install = [uv, "pip", "install", "--quiet", "--no-config", "--python", str(python), "--no-deps"]
    install += ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
    subprocess.run(install, check=True)
    stamp.write_text(wanted, encoding="utf-8")
    return venv / "bin"
