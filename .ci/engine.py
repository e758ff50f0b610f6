#!/usr/bin/env python3
"""A Docker engine and base images for machines that have neither.

    .ci/engine.py start        nothing where an engine answers; else installs (Debian, root) and starts one
    .ci/engine.py stop         ends the one that `start` started
    .ci/engine.py bases        python:3.13-slim and python:3.11-slim: pulled, or made where they cannot be
    .ci/engine.py run COMMAND  COMMAND with an engine, bases and this machine's package index in its
                               environment; what was started for it is stopped

The bases made here are Debian's own Pythons of those versions under the official names, labelled as
stand-ins: they tell whether the image builds and works, not what the official image would weigh.
"""

import concurrent.futures
import functools
import http.server
import os
import shutil
import signal
import subprocess
import sys
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
# Official name: the Debian release whose own Python is of that version.
BASES = {"python:3.13-slim": "trixie", "python:3.11-slim": "bookworm"}
PACKAGES = "python3,python3-venv,ca-certificates"
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
    """Ends the engine of this directory, its containers and containerd with it."""
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
    if not made:
        return
    if os.geteuid():
        raise EngineError(f"{', '.join(made)} cannot be pulled, and making it takes root")
    install({"debootstrap": "debootstrap"})
    say(f"{', '.join(made)} cannot be pulled: made from Debian's packages")
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        # list() raises what a thread has raised.
        list(pool.map(stand_in, made))
    say(f"made in {time.monotonic() - began:.0f} s")


def stand_in(name: str) -> None:
    release = BASES[name]
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE) as scratch:
        root = Path(scratch) / release
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", release, str(root)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise EngineError(f"debootstrap failed: {(result.stdout + result.stderr)[-1000:]}")
        for leftovers in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(root / leftovers, ignore_errors=True)
        # The official images carry no bytecode: what is to be compiled in ours must not come from here.
        for cache in sorted(root.glob("usr/lib/python3*/**/__pycache__")):
            shutil.rmtree(cache, ignore_errors=True)
        # The builds inside go the same ways out as this machine.
        if MACHINE_CERTIFICATES.exists():
            shutil.copyfile(MACHINE_CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
        packed = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        made = subprocess.run(
            [
                CLIENT,
                "import",
                "--change",
                f"LABEL {LABEL}={release}",
                "--change",
                'CMD ["python3"]',
                "-",
                name,
            ],
            stdin=packed.stdout,
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if packed.wait() or made.returncode:
            raise EngineError(f"{name} could not be imported")


def run(command: "list[str]") -> int:
    started = start()
    try:
        make_bases()
        with PackageIndex() as settings:
            environment = {**os.environ, "DOCKER": CLIENT, **settings}
            return subprocess.run(command, env=environment, check=False).returncode
    finally:
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


def docker(*arguments: str, quiet: bool = False) -> bool:
    return subprocess.run([CLIENT, *arguments], capture_output=quiet, check=False).returncode == 0


def say(text: str) -> None:
    print(f"engine: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
