"""The image's base images: pulled, or made from Debian's packages where they cannot be.

Those made here are Debian's own Pythons of the same versions under the official names, with a label:
they show whether the image builds and works, not what it would weigh on the official base.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import io
import json
import platform
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

from scripts.dev.engine.dockerd import client, docker
from scripts.dev.engine.machine import STATE, EngineError, checked_run, install, require_root, say
from scripts.dev.engine.qemu import start_emulation

RUNTIME_BASE = "python:3.13-slim"
# Official name: the Debian release whose own Python is of that version.
BASES = {RUNTIME_BASE: "trixie", "python:3.11-slim": "bookworm"}
LABEL = "stand-in"
PACKAGES = "apt,mawk,python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# As the kernel names machines, and as Debian and Docker do.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
MACHINE_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


def make_bases() -> None:
    """Pulls or makes the base images that are missing.

    Raises:
        EngineError: one can neither be pulled nor made.
    """
    missing = [name for name in BASES if not docker("image", "inspect", name, quiet=True)]
    missing = [name for name in missing if not docker("pull", "--quiet", name, quiet=True)]
    if missing:
        say(f"{', '.join(missing)} cannot be pulled: made from Debian's packages")
        _make(missing, platform.machine())


def make_arm64() -> None:
    """Makes the runtime's base for arm64, and lets this machine run its programs.

    Raises:
        EngineError: this machine is arm64 itself, or the base cannot be made.
    """
    if platform.machine() == "aarch64":
        raise EngineError("this machine is arm64: nothing has to be emulated")
    start_emulation()
    name = f"{RUNTIME_BASE}-arm64"
    if not docker("image", "inspect", name, quiet=True):
        _make([name], "aarch64")


def _make(names: list[str], machine: str) -> None:
    require_root(f"making {', '.join(names)}")
    install({"mmdebstrap": "mmdebstrap"})
    STATE.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # list() raises what a thread has raised.
        list(pool.map(lambda name: _make_one(name, ARCHITECTURES[machine]), names))
    say(f"made {', '.join(names)} in {time.monotonic() - began:.0f} s")


def _make_one(name: str, architecture: str) -> None:
    release = BASES[name.removesuffix("-arm64")]
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        root, layer = Path(scratch) / "root", Path(scratch) / "layer.tar"
        # Unpacked, not configured: no program of a package runs, so that any architecture's base is made.
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}"]
        checked_run([*command, "--include=?essential", f"--include={PACKAGES}", release, str(root)])
        # What configuring them would have made.
        for account in ("passwd", "group"):
            shutil.copyfile(root / f"usr/share/base-passwd/{account}.master", root / "etc" / account)
        (root / "usr/bin/awk").symlink_to("mawk")
        # Builds inside reach the network through the same proxies as this machine.
        if MACHINE_CERTIFICATES.exists():
            shutil.copyfile(MACHINE_CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
        # The official images carry no bytecode: what is to be compiled in ours must not come from here.
        for cache in sorted(root.glob("usr/lib/python3*/**/__pycache__")):
            shutil.rmtree(cache, ignore_errors=True)
        checked_run(["tar", "-C", str(root), "-cf", str(layer), "."])
        _load(name, layer, architecture, release)


def _load(name: str, layer: Path, architecture: str, release: str) -> None:
    """Gives the engine an image of one layer. ``docker import`` would do, if it minded the architecture."""
    with layer.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    config = {
        "architecture": architecture, "os": "linux", "history": [{"created_by": f"Debian {release}"}],
        "config": {"Cmd": ["python3"], "Env": [f"PATH={PATH}"], "Labels": {LABEL: release}},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }  # fmt: skip
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": [layer.name]}]
    archive = layer.with_name("image.tar")
    with tarfile.open(archive, "w") as out:
        out.add(layer, layer.name)
        for member, content in (("config.json", config), ("manifest.json", manifest)):
            data = json.dumps(content).encode()
            entry = tarfile.TarInfo(member)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
    checked_run([client(), "load", "--quiet", "--input", str(archive)])
