"""The real SAM CLI, in an environment of its own, as a person would call it in a clone of this project."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from scripts.dev.environments import ensure_environment
from scripts.paths import ROOT

START_SECONDS = 120.0
STOP_SECONDS = 30.0
INVOKE_SECONDS = 180.0
# What boto3 wants to be told; nothing here is asked of AWS.
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDTEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "SAM_CLI_TELEMETRY": "0",
}


class Answer(NamedTuple):
    """Of an HTTP request: the status and the body as JSON."""

    status: int
    body: Any


class Sam:
    """Runs ``sam`` over ``template.yaml`` and one image."""

    def __init__(self, image: str, parameters: Mapping[str, str] | None = None) -> None:
        self._program = str(ensure_environment("sam") / "sam")
        values = {"ImageUri": image, **(parameters or {})}
        self._overrides = ["--parameter-overrides", *(f"{name}={value}" for name, value in values.items())]

    def run(self, *arguments: str, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """A command of SAM's to its end."""
        return subprocess.run(
            [self._program, *arguments],
            input=input,
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=INVOKE_SECONDS,
            check=False,
        )

    def invoke(self, function: str, event: Any) -> Any:
        """``sam local invoke`` with an event, both it and the answer as JSON values."""
        arguments = ["local", "invoke", function, "--event", "-", *self._overrides]
        result = self.run(*arguments, input=json.dumps(event))
        assert result.returncode == 0, result.stderr[-2000:]
        return json.loads(result.stdout.splitlines()[-1])

    def generate_event(self, *arguments: str) -> Any:
        """``sam local generate-event``: AWS's own sample of an event."""
        result = self.run("local", "generate-event", *arguments)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    @contextmanager
    def serve(self, command: str, log: IO[bytes]) -> Iterator[str]:
        """Address of ``sam local start-api`` or ``start-lambda``, which runs meanwhile."""
        port, before = free_port(), containers()
        arguments = [self._program, "local", command, "--port", str(port), "--host", "127.0.0.1"]
        arguments += self._overrides
        process = subprocess.Popen(
            arguments, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            # A shell that runs something in the background has it ignore ctrl-C, and what it starts as well.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )  # fmt: skip
        try:
            until = time.monotonic() + START_SECONDS
            while not listens(port):
                assert process.poll() is None, log_of(log)
                assert time.monotonic() < until, log_of(log)
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            # As ctrl-C does: SAM takes its containers down.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_SECONDS)
            finally:
                process.kill()
                process.wait()
                # On a busy machine SAM may end before it has taken all of them down.
                for container in containers() - before:
                    subprocess.run([docker(), "rm", "--force", container], capture_output=True, check=False)


def environment() -> dict[str, str]:
    """What SAM sees: the machine's, without anybody's AWS account."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "SAM_"))}
    if os.environ.get("AWS_CA_BUNDLE"):
        mine["AWS_CA_BUNDLE"] = os.environ["AWS_CA_BUNDLE"]
    return {**mine, **AWS}


def request(url: str, body: Any = None, key: str | None = None) -> Answer:
    """GET, or POST where there is a body: bytes as they are, anything else as JSON."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data, headers), timeout=INVOKE_SECONDS
        ) as response:
            return Answer(response.status, json.load(response))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.load(error))


def docker() -> str:
    return os.environ.get("DOCKER") or "docker"


def containers() -> set[str]:
    """Containers that SAM started."""
    command = [docker(), "ps", "--all", "--quiet", "--filter", "label=sam.cli.container.type=lambda"]
    return set(subprocess.check_output(command, text=True).split())


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        return port


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def log_of(log: IO[bytes]) -> str:
    return Path(log.name).read_text(encoding="utf-8", errors="replace")[-3000:]
