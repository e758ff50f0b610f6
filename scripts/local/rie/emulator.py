"""One emulator with the function in it, as a context manager."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from scripts.local.rie.binary import EmulatorError, ensure_binary
from scripts.paths import ROOT
from scripts.processes import LOOPBACK, command_line, end_session, free_ports, runs_function, session_members

PATH = "/2015-03-31/functions/function/invocations"
HANDLER = "lambda_app.handler.handler"
HOST = LOOPBACK
START_SECONDS = 15.0
STOP_SECONDS = 3.0


class Emulator:
    """One emulator and the function in it. Not for concurrent use: two requests at once crash the RIE.

    ``environment`` is all that the function sees beside PATH; ``command`` is what to run instead of
    ``python -m awslambdaric lambda_app.handler.handler``. The function starts with the first invocation.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        command: Sequence[str] | None = None,
        directory: Path = ROOT,
    ) -> None:
        self._environment = {"PATH": os.environ.get("PATH", os.defpath), **(environment or {})}
        self._command = list(command or (sys.executable, "-m", "awslambdaric", HANDLER))
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Starts the emulator on a free port of the loopback interface.

        Raises:
            EmulatorError: with the end of what the emulator wrote.
        """
        binary = ensure_binary()
        # Another process may take a port between our asking for a free one and the emulator's binding it.
        for _ in range(3):
            if self._try_start(binary):
                return self
        raise EmulatorError(f"the emulator did not start: {self.errors[-2000:]}")

    def _try_start(self, binary: Path) -> bool:
        self.stop()
        self._port, api_port = free_ports(2)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (stop() closes it)
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [
                str(binary),
                *("--runtime-interface-emulator-address", f"{HOST}:{self._port}"),
                *("--runtime-api-address", f"{HOST}:{api_port}"),
                *self._command,
            ],
            cwd=self._directory,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._errors,
            # A session of its own: its processes are found by it when they have to go.
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection((HOST, self._port), timeout=1).close()
            except OSError:
                time.sleep(0.01)
            else:
                return True
        return False

    def invoke(self, event: Any, *, timeout: float = 300) -> Any:
        """The function's answer to an event, both as JSON values.

        A handler that raised gives ``{"errorMessage", "errorType", "requestId", "stackTrace"}``, as Lambda.

        Raises:
            EmulatorError: the function's process ended, or its time ran out.
        """
        return self.invoke_raw(json.dumps(event).encode("ascii"), timeout=timeout)

    def invoke_raw(self, payload: bytes, *, timeout: float = 300) -> Any:
        """As :meth:`invoke`, for bytes that need not be JSON."""
        body = self.post(payload, timeout=timeout)
        try:
            return json.loads(body)
        except ValueError:
            raise EmulatorError(
                f"the emulator answered {body[:500]!r}; its log ends {self.errors[-500:]}"
            ) from None

    def post(self, payload: bytes, *, timeout: float = 300) -> bytes:
        """The bytes of the answer, as they came.

        Raises:
            EmulatorError: the emulator did not answer, or answered with a failure of its own.
        """
        connection = http.client.HTTPConnection(HOST, self._port, timeout=timeout)
        try:
            connection.request("POST", PATH, payload, {"content-type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise EmulatorError(
                f"no answer ({type(error).__name__}: {error}); {self.errors[-500:]}"
            ) from error
        finally:
            connection.close()
        if response.status != 200:
            raise EmulatorError(f"HTTP {response.status}: {body[:500]!r}")
        return body

    @property
    def runtime_pid(self) -> int | None:
        """Process id of the Python that runs the function; None before the first invocation."""
        for pid in self.session_pids():
            arguments = command_line(pid)
            if runs_function(arguments):
                return pid
        return None

    @property
    def stdout(self) -> list[str]:
        """What the function wrote, line by line, and the emulator's START, END and REPORT lines."""
        return _content(self._output).splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The function's JSON log lines."""
        return log_records(self.stdout)

    @property
    def errors(self) -> str:
        """What the function and the emulator wrote to standard error."""
        return _content(self._errors)

    def stop(self) -> None:
        """Ends the emulator and everything it started. Does nothing when there is none."""
        process, self._process = self._process, None
        if process is not None:
            end_session(process, STOP_SECONDS)
        for stream in (self._output, self._errors):
            if stream is not None:
                stream.close()
        self._output = self._errors = None

    def session_pids(self) -> list[int]:
        """Returns the process ids of what runs under the emulator now."""
        return session_members(self._process.pid) if self._process is not None else []


def log_records(lines: Iterable[str]) -> list[dict[str, Any]]:
    """Returns the lines that are JSON objects: the function's own among those of the emulator."""
    records = []
    for line in lines:
        if line.startswith("{"):
            try:
                records.append(json.loads(line))
            except ValueError:
                continue
    return records


def _content(stream: IO[bytes] | None) -> str:
    if stream is None:
        return ""
    # Another process writes through the same open file: reading must not move the place where it writes.
    size = os.fstat(stream.fileno()).st_size
    return os.pread(stream.fileno(), size, 0).decode("utf-8", errors="replace")
