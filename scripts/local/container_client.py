"""Sends events to the emulator in a container through ``docker exec``: the container has no network."""

from __future__ import annotations

import json
import select
import subprocess
import time
from typing import IO, Any

from scripts.local.rie import PATH

START_SECONDS = 60.0

# Runs in the container. Prints an empty line when it is ready; then each line in is an event, and each line
# out a status and a body.
_SCRIPT = f"""
import http.client, json, sys
print(flush=True)
for line in sys.stdin.buffer:
    connection = http.client.HTTPConnection("127.0.0.1", 8080)
    try:
        connection.request("POST", "{PATH}", line.rstrip(b"\\n"), {{"content-type": "application/json"}})
        response = connection.getresponse()
        answer = [response.status, response.read().decode("utf-8", "replace")]
    except (OSError, http.client.HTTPException) as error:
        answer = [0, type(error).__name__]
    connection.close()
    print(json.dumps(answer), flush=True)
"""


class ContainerError(RuntimeError):
    """The container did not start, or its function did not respond."""


class ContainerClient:
    """A process in the container that posts one event after another.

    Raises:
        ContainerError: it did not start.
    """

    def __init__(self, docker: str, container: str) -> None:
        self._process = subprocess.Popen(
            [docker, "exec", "-i", container, "python", "-u", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        try:
            self._line(START_SECONDS)
        except ContainerError:
            self.close()
            raise

    def post(self, event: Any, timeout: float) -> tuple[int, str]:
        """Returns the status and the body of the emulator's response.

        Raises:
            ContainerError: none came within ``timeout`` seconds.
            OSError: the container is gone.
        """
        _pipe(self._process.stdin).write(json.dumps(event).encode("ascii") + b"\n")
        status, body = json.loads(self._line(timeout))
        return status, body

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()

    def _line(self, timeout: float) -> bytes:
        stream = _pipe(self._process.stdout)
        until = time.monotonic() + timeout
        parts: list[bytes] = []
        while not (parts and parts[-1].endswith(b"\n")):
            left = until - time.monotonic()
            part = stream.read(1 << 20) if left > 0 and select.select([stream], [], [], left)[0] else b""
            if not part:
                raise ContainerError(f"no response in {timeout:.0f} s")
            parts.append(part)
        return b"".join(parts)


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ContainerError("the client has no pipes")
    return stream
