"""A Docker engine and base images for machines that have neither.

.ci/engine.py start        does nothing where an engine responds; else installs (Debian, root) and starts one
.ci/engine.py stop         ends the one that `start` started
.ci/engine.py bases        gets the image's two base images: pulled, or made where they cannot be
.ci/engine.py arm64        makes the runtime's base for arm64, and emulates arm64 programs
.ci/engine.py run COMMAND  runs COMMAND with an engine, base images and this machine's package index in its
                           environment, and ends what it started
"""

from __future__ import annotations

import os
import subprocess
import sys

from scripts.dev.engine import dockerd, qemu
from scripts.dev.engine.base_images import make_arm64, make_bases
from scripts.dev.engine.machine import EngineError
from scripts.dev.engine.wheel_server import package_index


def main(arguments: list[str]) -> int:
    """Does what the arguments say; returns an exit status."""
    try:
        match arguments:
            case ["start"]:
                dockerd.start()
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


def stop() -> None:
    """Ends the emulation and the engine that were started from here."""
    qemu.stop_emulation()
    dockerd.stop()


def run(command: list[str]) -> int:
    """Runs a command with an engine; returns its exit status."""
    started = dockerd.start()
    try:
        make_bases()
        with package_index() as settings:
            environment = {**os.environ, "DOCKER": dockerd.client(), **settings}
            return subprocess.run(command, env=environment, check=False).returncode
    finally:
        # Where the engine was there before, too: what COMMAND had emulated is not for others.
        qemu.stop_emulation()
        if started:
            dockerd.stop()
