"""Starts and ends a Docker engine of this directory's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from scripts.dev.engine.machine import STATE, EngineError, install, require_root, say
from scripts.processes import command_line

PIDFILE = STATE / "dockerd.pid"
LOG = STATE / "dockerd.log"
# Debian's client first: it builds with BuildKit by itself, where newer ones want a plug-in.
DEBIAN_CLIENT = "/usr/bin/docker"
START_SECONDS = 60


def client() -> str:
    """Returns the Docker client to use."""
    return DEBIAN_CLIENT if os.access(DEBIAN_CLIENT, os.X_OK) else "docker"


def docker(*arguments: str, quiet: bool = False) -> bool:
    """Runs the client, and returns whether it succeeded."""
    return subprocess.run([client(), *arguments], capture_output=quiet, check=False).returncode == 0


def responds() -> bool:
    """Returns whether there is a client and an engine responds to it."""
    return shutil.which(client()) is not None and docker("version", quiet=True)


def start() -> bool:
    """Starts an engine where none responds.

    Returns:
        Whether one was started.

    Raises:
        EngineError: it takes root, or dockerd did not come up.
    """
    if responds():
        return False
    require_root("no Docker engine responds, and starting one")
    install({"dockerd": "docker.io"})
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
    while not responds():
        if time.monotonic() > until:
            stop()
            raise EngineError(f"dockerd did not come up: {LOG.read_text(errors='replace')[-1000:]}")
        time.sleep(0.2)
    say("started dockerd")
    return True


def stop() -> None:
    """Ends the engine of this directory, its containers and containerd with it. Does nothing without one.

    Raises:
        EngineError: dockerd does not end.
    """
    try:
        pid = int(PIDFILE.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    until = time.monotonic() + START_SECONDS
    while _runs(pid) and time.monotonic() < until:
        time.sleep(0.1)
    if _runs(pid):
        raise EngineError(f"dockerd ({pid}) does not end")
    PIDFILE.unlink(missing_ok=True)
    # dockerd leaves its network namespaces mounted, and this directory could not be removed.
    for namespace in (STATE / "run" / "netns").glob("*"):
        subprocess.run(["umount", namespace], capture_output=True, check=False)
    say("stopped dockerd")


def _runs(pid: int) -> bool:
    return any(Path(argument).name == "dockerd" for argument in command_line(pid)[:1])
