"""The image as Lambda runs it, as a context manager.

    with Container("lambda-embed-rerank:e5-base-int8-v1", memory_mb=1024) as container:
        answer = container.invoke({"action": "ping"})

Read-only but for /tmp, without network, capabilities or /dev/shm, as a user that nothing knows, with the CPU
share that Lambda gives to a memory size, under the Runtime Interface Emulator. Events go in through ``docker
exec``, for there is no network to send them over.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from scripts.local.container_client import START_SECONDS, ContainerClient, ContainerError
from scripts.local.rie import ensure_binary, log_records
from scripts.processes import BOOT, runs_function

__all__ = ["GID", "MEGABYTES_PER_CPU", "TMP", "UID", "Container", "ContainerError"]

# What Lambda gives at this memory size is one CPU, and a share in proportion below and above.
MEGABYTES_PER_CPU = 1_769
# A user and a group that no image has.
UID, GID = 993, 990
EMULATOR = "/usr/local/bin/aws-lambda-rie"
# Kept from the function: which CPUs there are. Lambda does so on arm64.
MASKED = "/sys/devices/system/cpu"
# All that a function can write to.
TMP = "/tmp"  # noqa: S108 (the container's own)
TIMEOUT_SECONDS = 300.0


class Container:
    """One container of an image and the function in it. Not for concurrent use: the RIE crashes.

    ``memory_mb`` limits memory as Lambda does and gives its CPU share, unless ``cpus`` says otherwise.
    ``volumes`` are further directories, host path to container path, read-only; ``tmp_bytes`` is the size of
    /tmp. ``network`` is a Docker network for what takes one, ``command`` what runs in place of the image's.
    """

    def __init__(
        self,
        image: str,
        *,
        memory_mb: int = MEGABYTES_PER_CPU,
        cpus: float | None = None,
        environment: Mapping[str, str] | None = None,
        volumes: Mapping[Path, str] | None = None,
        tmp_bytes: int = 512 << 20,
        network: str = "none",
        command: Sequence[str] = (),
        docker: str = "docker",
    ) -> None:
        self.name = f"lambda-{uuid.uuid4().hex[:12]}"
        self._docker = docker
        self._image = image
        self._memory_mb = memory_mb
        self._cpus = memory_mb / MEGABYTES_PER_CPU if cpus is None else cpus
        self._environment = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb), **(environment or {})}
        self._volumes = dict(volumes or {})
        self._tmp_bytes = tmp_bytes
        self._network = network
        self._command = list(command)
        self._empty: tempfile.TemporaryDirectory[str] | None = None
        self._client: ContainerClient | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts the container; the function in it starts with the first invocation.

        Raises:
            ContainerError: with what Docker said.
        """
        config = json.loads(self._run("image", "inspect", self._image))[0]["Config"]
        command = self._command or [*(config["Entrypoint"] or []), *(config["Cmd"] or [])]
        self._empty = tempfile.TemporaryDirectory(prefix="lambda-")
        # Lambda's user reads what is mounted.
        Path(self._empty.name).chmod(0o755)
        volumes = {Path(self._empty.name): MASKED, ensure_binary(): EMULATOR, **self._volumes}
        self._run(
            *("run", "--detach", "--name", self.name, "--read-only", "--network", self._network),
            *("--ipc", "none"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", f"{UID}:{GID}"),
            *("--memory", f"{self._memory_mb}m", "--memory-swap", f"{self._memory_mb}m"),
            *("--cpus", f"{self._cpus:.3f}", "--tmpfs", f"{TMP}:size={self._tmp_bytes},mode=1777"),
            *(f"--volume={host}:{inside}:ro" for host, inside in volumes.items()),
            *(f"--env={name}={value}" for name, value in self._environment.items()),
            *("--entrypoint", EMULATOR, self._image, *command),
        )
        until = time.monotonic() + START_SECONDS
        while not self._listens():
            if time.monotonic() > until:
                raise ContainerError(f"the emulator did not come up: {self.log_text[-1000:]}")
            time.sleep(0.05)
        return self

    def _listens(self) -> bool:
        script = "import socket; socket.create_connection(('127.0.0.1', 8080)).close()"
        return self.execute(script, check=False).returncode == 0

    def connect(self) -> ContainerClient:
        """Returns the client in the container, started if there is none: measurements do so before timing."""
        if self._client is None:
            self._client = ContainerClient(self._docker, self.name)
        return self._client

    def invoke(self, event: Any, *, timeout: float = TIMEOUT_SECONDS) -> Any:
        """Returns the function's response to an event, both as JSON values.

        A handler that raised gives ``{"errorMessage", "errorType", ...}``, as Lambda.

        Raises:
            ContainerError: the function's process ended, or its time ran out.
        """
        try:
            status, body = self.connect().post(event, timeout)
        except ContainerError as error:
            self._disconnect()
            raise ContainerError(f"{error}; the log ends {self.log_text[-1000:]}") from None
        except OSError as error:
            raise ContainerError(f"the container is gone: {self.log_text[-1000:]}") from error
        if status != 200:
            raise ContainerError(f"status {status}: {body[:500]}; the log ends {self.log_text[-500:]}")
        try:
            return json.loads(body)
        except ValueError:
            raise ContainerError(f"the emulator responded {body[:500]!r}") from None

    def execute(self, script: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Runs Python in the container, as the function's user."""
        return subprocess.run(
            [self._docker, "exec", self.name, "python", "-c", script, *arguments],
            capture_output=True,
            text=True,
            check=check,
        )

    @property
    def runtime_pid(self) -> int | None:
        """Process id, on the host, of the Python that runs the function; None while there is none."""
        for line in self._run("top", self.name, "-eo", "pid,args").splitlines()[1:]:
            pid, _, command = line.strip().partition(" ")
            if runs_function(command.split()):
                return int(pid)
        return None

    def kill_function(self) -> None:
        """Ends the function's process, as Lambda does when it has run out of time."""
        script = (
            "import os, signal, pathlib\n"
            "for entry in pathlib.Path('/proc').iterdir():\n"
            "    if entry.name.isdigit() and int(entry.name) not in (1, os.getpid()):\n"
            f"        if b'{BOOT}' in (entry / 'cmdline').read_bytes():\n"
            "            os.kill(int(entry.name), signal.SIGKILL)\n"
        )
        self.execute(script)

    @property
    def log_text(self) -> str:
        """What the function and the emulator wrote."""
        result = subprocess.run(
            [self._docker, "logs", self.name], capture_output=True, text=True, check=False
        )
        return result.stdout + result.stderr

    @property
    def log(self) -> list[dict[str, Any]]:
        """The function's JSON log lines."""
        return log_records(self.log_text.splitlines())

    def stop(self) -> None:
        """Removes the container. Does nothing when there is none."""
        self._disconnect()
        subprocess.run(
            [self._docker, "rm", "--force", "--volumes", self.name], capture_output=True, check=False
        )
        if self._empty is not None:
            self._empty.cleanup()
            self._empty = None

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _run(self, *arguments: str) -> str:
        result = subprocess.run([self._docker, *arguments], capture_output=True, text=True, check=False)
        if result.returncode:
            raise ContainerError(f"docker {arguments[0]}: {result.stderr.strip()[-1000:]}")
        return result.stdout
