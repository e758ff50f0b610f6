#!/usr/bin/env python3
"""A Docker engine and base images for machines that have neither.

    .ci/engine.py start        nothing where an engine answers; else installs (Debian, root) and starts one
    .ci/engine.py stop         ends the one that `start` started
    .ci/engine.py bases        python:3.13-slim and python:3.11-slim: pulled, or made where they cannot be
    .ci/engine.py arm64        python:3.13-slim-arm64, made, and the emulation of arm64 programs
    .ci/engine.py run COMMAND  COMMAND with an engine, bases and this machine's package index in its
                               environment; what was started for it is stopped

The bases made here are Debian's own Pythons of those versions under the official names, labelled as
stand-ins: they tell whether the image builds and works, not what the official image would weigh.
"""

import concurrent.futures
import functools
import hashlib
import http.server
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STATE = ROOT / ".cache" / "engine"
PIDFILE = STATE / "dockerd.pid"
LOG = STATE / "dockerd.log"
# Debian's client first: it builds with BuildKit by itself, where newer ones want a plug-in.
DEBIAN_CLIENT = "/usr/bin/docker"
CLIENT = DEBIAN_CLIENT if os.access(DEBIAN_CLIENT, os.X_OK) else "docker"
LABEL = "stand-in"
RUNTIME_BASE = "python:3.13-slim"
# Official name: the Debian release whose own Python is of that version.
BASES = {RUNTIME_BASE: "trixie", "python:3.11-slim": "bookworm"}
PACKAGES = "apt,mawk,python3,python3-venv,ca-certificates"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# As the kernel names machines, and as Debian and Docker do.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
EMULATED = STATE / "emulated"
START_SECONDS = 60
WHEELS_PORT = 18_765
MACHINE_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class EngineError(Exception):
    """What is missing, in a sentence."""


def main(arguments: "list[str]") -> int:
    try:
        match arguments:
            case ["start"]:
                start()
            case ["stop"]:
                stop()
            case ["bases"]:
                make_bases()
            case ["arm64"]:
                make_arm64()
            case ["run", *command] if command:
                return run(command)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except EngineError as error:
        print(f"engine: {error}", file=sys.stderr)
        return 1
    return 0


def answers() -> bool:
    return subprocess.run([CLIENT, "version"], capture_output=True, check=False).returncode == 0


def start() -> bool:
    """Whether an engine was started: False when one was there."""
    global CLIENT
    if shutil.which(CLIENT) and answers():
        return False
    if os.geteuid():
        raise EngineError("no Docker engine answers, and starting one takes root")
    install({"dockerd": "docker.io"})
    CLIENT = DEBIAN_CLIENT
    STATE.mkdir(parents=True, exist_ok=True)
    with LOG.open("ab") as log:
        subprocess.Popen(
            ["dockerd", "--data-root", STATE / "data", "--exec-root", STATE / "run", "--pidfile", PIDFILE],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + START_SECONDS
    while not answers():
        if time.monotonic() > until:
            stop()
            raise EngineError(f"dockerd did not come up: {LOG.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)
    say("started dockerd")
    return True


def stop() -> None:
    """Ends the engine of this directory, its containers and containerd with it, and the emulation."""
    stop_emulating()
    try:
        pid = int(PIDFILE.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    until = time.monotonic() + START_SECONDS
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.1)
    if alive(pid):
        raise EngineError(f"dockerd ({pid}) does not end")
    PIDFILE.unlink(missing_ok=True)
    # dockerd leaves its network namespaces mounted, and this directory could not be removed.
    for namespace in (STATE / "run" / "netns").glob("*"):
        subprocess.run(["umount", namespace], capture_output=True, check=False)
    say("stopped dockerd")


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def make_bases() -> None:
    missing = [name for name in BASES if not docker("image", "inspect", name, quiet=True)]
    made = [name for name in missing if not docker("pull", "--quiet", name, quiet=True)]
    if made:
        say(f"{', '.join(made)} cannot be pulled: made from Debian's packages")
        make(made, platform.machine())


def stop_emulating() -> None:
    if EMULATED.exists():
        BINFMT.joinpath("qemu-aarch64").write_text("-1")
        EMULATED.unlink()


def make_arm64() -> None:
    """The runtime's base for arm64, and what lets this machine run its programs."""
    if platform.machine() == "aarch64":
        raise EngineError("this machine is arm64: nothing has to be emulated")
    emulate_arm64()
    name = f"{RUNTIME_BASE}-arm64"
    if not docker("image", "inspect", name, quiet=True):
        make([name], "aarch64")


def make(names: "list[str]", machine: str) -> None:
    if os.geteuid():
        raise EngineError(f"making {', '.join(names)} takes root")
    install({"mmdebstrap": "mmdebstrap"})
    STATE.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # list() raises what a thread has raised.
        list(pool.map(lambda name: stand_in(name, ARCHITECTURES[machine]), names))
    say(f"made {', '.join(names)} in {time.monotonic() - began:.0f} s")


def stand_in(name: str, architecture: str) -> None:
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
        # The builds inside go the same ways out as this machine.
        if MACHINE_CERTIFICATES.exists():
            shutil.copyfile(MACHINE_CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
        # The official images carry no bytecode: what is to be compiled in ours must not come from here.
        for cache in sorted(root.glob("usr/lib/python3*/**/__pycache__")):
            shutil.rmtree(cache, ignore_errors=True)
        checked_run(["tar", "-C", str(root), "-cf", str(layer), "."])
        load(name, layer, architecture, release)


def load(name: str, layer: Path, architecture: str, release: str) -> None:
    """Hands the engine an image of one layer. `docker import` would do, if it minded the architecture."""
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
    checked_run([CLIENT, "load", "--quiet", "--input", str(archive)])


def emulate_arm64() -> None:
    """Has the kernel hand arm64 programs to QEMU, in containers too, until `stop` or the next boot.

    QEMU of Debian 13: the one of Debian 12 shows emulated programs this machine's /proc/cpuinfo, and
    onnxruntime ends itself over that.
    """
    if os.geteuid():
        raise EngineError("emulating arm64 takes root")
    if not BINFMT.joinpath("register").exists():
        checked_run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)])
    if BINFMT.joinpath("qemu-aarch64").exists():
        return
    install({"mmdebstrap": "mmdebstrap"})
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        root = Path(scratch) / "root"
        command = ["mmdebstrap", "--quiet", "--variant=extract", "--include=qemu-user"]
        checked_run([*command, BASES[RUNTIME_BASE], str(root)])
        rule = (root / "usr/share/qemu/binfmt.d/qemu-aarch64.conf").read_text().strip()
        # Debian's rule has the kernel keep the program open (F): it works in containers, and its file may go.
        BINFMT.joinpath("register").write_text(rule.replace(":/usr/", f":{root}/usr/"))
    EMULATED.touch()
    say("arm64 programs run under QEMU")


def run(command: "list[str]") -> int:
    started = start()
    try:
        make_bases()
        with PackageIndex() as settings:
            environment = {**os.environ, "DOCKER": CLIENT, **settings}
            return subprocess.run(command, env=environment, check=False).returncode
    finally:
        # Also where the engine is somebody else's: what COMMAND had emulated is not for others.
        stop_emulating()
        if started:
            stop()


class PackageIndex:
    """This machine's pip settings as what the image's build takes. Wheels that lie in a directory are served
    on the loopback interface meanwhile, which builds reach with the host's network."""

    def __init__(self) -> None:
        self._server: http.server.ThreadingHTTPServer | None = None

    def __enter__(self) -> "dict[str, str]":
        settings = {}
        flags = ["--network host"]
        wheels = [place for place in find_links().split() if Path(place).is_dir()]
        if wheels:
            self._server = serve(wheels[0])
            flags.append(f"--build-arg PIP_FIND_LINKS=http://127.0.0.1:{self._server.server_port}/")
            # With a folder of wheels at hand, PyTorch's own index is not asked.
            settings["TORCH_INDEX_URL"] = os.environ.get("TORCH_INDEX_URL", "")
            threading.Thread(target=self._server.serve_forever, daemon=True).start()
        flags.append(os.environ.get("IMAGE_FLAGS", ""))
        return {**settings, "IMAGE_FLAGS": " ".join(flags).strip()}

    def __exit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()


def serve(directory: str) -> http.server.ThreadingHTTPServer:
    handler = functools.partial(Quiet, directory=directory)
    try:
        # The same port every time: it is part of what the engine's build cache goes by.
        return http.server.ThreadingHTTPServer(("127.0.0.1", WHEELS_PORT), handler)
    except OSError:
        return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def find_links() -> str:
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"],
        capture_output=True,
        text=True,
        check=False,
    )
    return os.environ.get("PIP_FIND_LINKS") or told.stdout.strip()


def install(programs: "dict[str, str]") -> None:
    missing = [package for program, package in programs.items() if not shutil.which(program)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise EngineError(f"not installed: {', '.join(missing)}")
    say(f"installing {', '.join(missing)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-qq", "--no-install-recommends", *missing]):
        # dockerd's package would start a service of its own, where there is something that starts services.
        result = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True, check=False
        )
        if result.returncode:
            raise EngineError(f"apt-get {command[0]} failed: {(result.stdout + result.stderr)[-1000:]}")


def checked_run(command: "list[str]") -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise EngineError(f"{command[0]} failed: {(result.stdout + result.stderr)[-1000:]}")


def docker(*arguments: str, quiet: bool = False) -> bool:
    return subprocess.run([CLIENT, *arguments], capture_output=quiet, check=False).returncode == 0


def say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
