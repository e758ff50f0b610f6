"""Has the kernel run arm64 programs under QEMU, in containers too."""

from __future__ import annotations

import tempfile
from pathlib import Path

from scripts.dev.engine.machine import STATE, checked_run, install, require_root, say

BINFMT = Path("/proc/sys/fs/binfmt_misc")
RULE = BINFMT / "qemu-aarch64"
EMULATED = STATE / "emulated"
# Debian 13's QEMU: that of Debian 12 shows emulated programs this machine's /proc/cpuinfo, and onnxruntime
# ends itself over that.
RELEASE = "trixie"


def start_emulation() -> None:
    """Registers QEMU with the kernel until :func:`stop_emulation` or the next boot.

    Raises:
        EngineError: it takes root, or QEMU could not be fetched.
    """
    require_root("emulating arm64")
    if not BINFMT.joinpath("register").exists():
        checked_run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if RULE.exists():
        return
    install({"mmdebstrap": "mmdebstrap"})
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        root = Path(scratch) / "root"
        command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=qemu-user"]
        checked_run([*command, RELEASE, str(root)])
        rule = (root / "usr/share/qemu/binfmt.d/qemu-aarch64.conf").read_text().strip()
        # Debian's rule has the kernel keep the program open (F): it works in containers, and its file may go.
        BINFMT.joinpath("register").write_text(rule.replace(":/usr/", f":{root}/usr/"))
    EMULATED.touch()
    say("arm64 programs run under QEMU")


def stop_emulation() -> None:
    """Takes QEMU out of the kernel again, if it was registered from here."""
    if EMULATED.exists():
        RULE.write_text("-1")
        EMULATED.unlink()
