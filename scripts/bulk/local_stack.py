"""What the template deploys for jobs over S3, on this machine: MiniStack, and the function under emulators.

What is not as in AWS: MiniStack ignores ResultWriter and IAM, and has no Express children.
"""

from __future__ import annotations

import io
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from scripts.bulk.definition import definition
from scripts.bulk.pool import EmulatorPool, emulator_pool
from scripts.dev.environments import ensure_environment
from scripts.dev.local_s3 import ENVIRONMENT, client
from scripts.local.rie import HOST
from scripts.paths import ROOT
from scripts.processes import end_session, free_ports

START_SECONDS = 30.0
STOP_SECONDS = 3.0
# What a client waits for a response: a function may take a minute.
CLIENT_SECONDS = 90.0
ROLE = "arn:aws:iam::000000000000:role/local"
SERVICES = "s3,lambda,stepfunctions,iam,sts,logs"
MEMORY_MB = 1_769


class LocalStackError(RuntimeError):
    """MiniStack did not start."""


class LocalStack(NamedTuple):
    """A stack that runs: where it answers, its state machine, and the emulators behind its function."""

    address: str
    machine: str
    pool: EmulatorPool

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which AWS clients reach it."""
        return client_environment(self.address)

    def client(self, service: str) -> Any:
        """Returns a client of one of its services."""
        return client(self.address, service, read_seconds=CLIENT_SECONDS)


def client_environment(address: str) -> dict[str, str]:
    """Returns the variables by which AWS clients reach a MiniStack."""
    return {**ENVIRONMENT, "AWS_ENDPOINT_URL": address}


def function_environment(address: str, models: Path) -> dict[str, str]:
    """Returns the variables of a function that embeds with one thread, and reaches a MiniStack."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        **client_environment(address),
        "MODEL_DIR": str(models),
        "PRELOAD": "embedding",
        "INFERENCE_THREADS": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(MEMORY_MB),
    }


@contextmanager
def local_stack(
    models: Path, *, emulators: int = 2, concurrency: int = 8, tolerated: float = 0, timeout: int = 60
) -> Iterator[LocalStack]:
    """Yields a stack with the state machine of template.yaml; the function has ``timeout`` seconds.

    Raises:
        LocalStackError: MiniStack did not start.
        EmulatorError: an emulator did not start.
    """
    with ministack() as address:
        environment = {
            **function_environment(address, models),
            "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout),
        }
        with emulator_pool(environment, emulators) as pool:
            function = _function(address, pool.address)
            text = definition(
                {
                    "AWS::Partition": "aws",
                    "PipelineFunction.Arn": function,
                    "BulkMaxConcurrency": concurrency,
                    "BulkToleratedFailurePercentage": tolerated,
                }
            )
            machine = client(address, "stepfunctions").create_state_machine(
                name="bulk", definition=text, roleArn=ROLE
            )["stateMachineArn"]
            yield LocalStack(address, machine, pool)


@contextmanager
def ministack() -> Iterator[str]:
    """Yields the address of an empty MiniStack, in an environment of its own.

    Raises:
        LocalStackError: it did not start; the message ends with what it wrote.
    """
    programs = ensure_environment("ministack")
    (port,) = free_ports(1)
    address = f"http://{HOST}:{port}"
    with tempfile.TemporaryDirectory() as scratch, (Path(scratch) / "log").open("w+b") as log:
        environment = {
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": scratch,
            "TMPDIR": scratch,
            "BIND_HOST": HOST,
            "GATEWAY_PORT": str(port),
            "SERVICES": SERVICES,
            "LOG_LEVEL": "ERROR",
            **ENVIRONMENT,
        }
        process = subprocess.Popen(
            [str(programs / "ministack")],
            cwd=scratch,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            _wait(address, process, log)
            yield address
        finally:
            end_session(process, STOP_SECONDS)


def _wait(address: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/_ministack/health", timeout=2).close()  # noqa: S310
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    log.seek(0)
    raise LocalStackError(f"MiniStack did not start: {log.read()[-2000:].decode(errors='replace')}")


def _function(address: str, target: str) -> str:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.write(ROOT / "scripts" / "bulk" / "forwarder.py", "forwarder.py")
    functions = client(address, "lambda")
    arn: str = functions.create_function(
        FunctionName="pipeline",
        Runtime="python3.11",
        Role=ROLE,
        Handler="forwarder.handler",
        Code={"ZipFile": content.getvalue()},
        Timeout=900,
        Environment={"Variables": {"FUNCTION_ADDRESS": target}},
    )["FunctionArn"]
    version = functions.publish_version(FunctionName="pipeline")["Version"]
    functions.create_alias(FunctionName="pipeline", Name="live", FunctionVersion=version)
    return arn
