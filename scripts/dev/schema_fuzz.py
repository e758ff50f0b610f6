"""schemathesis against the function: ``python -m scripts.dev.schema_fuzz [--examples 100]``.

The function, as ``make serve`` runs it, is sent what its own OpenAPI document allows, and what that forbids,
with all of schemathesis's checks.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scripts.dev.environments import ensure_environment
from scripts.local.embedded_bundle import ensure_bundle
from scripts.paths import ROOT

# schemathesis tries the largest bodies that the document allows. API Gateway refuses those over 10 MB and
# Lambda those over 6 MB before the function sees them; here the function has to.
MAX_BODY_BYTES = 999_999_999
PHASES = "examples,coverage,fuzzing"
# What API Gateway waits for an answer, and what a client on a busy machine does.
HTTP_SECONDS = 30
REQUEST_SECONDS = 60
# What an OpenAPI document cannot say: a text that holds a NUL, vectors that fit no answer, dimensions that
# the model was not trained for, a model that is not served, texts that take more time than there is.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 400, 404, 413, 422, 504]

[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 413, 422, 504]
"""


class Result(NamedTuple):
    """Of a run of schemathesis.

    ``cases`` is how many requests were sent, ``alive`` whether the function's process still ran afterwards,
    ``report`` what schemathesis wrote.
    """

    cases: int
    passed: bool
    alive: bool
    report: str


def run(examples: int, phases: str = PHASES) -> Result:
    """Sends requests, ``examples`` at random for each operation beside those that are worked out."""
    programs = ensure_environment("schemathesis")
    with tempfile.TemporaryDirectory() as directory, function() as (address, process):
        config = Path(directory) / "schemathesis.toml"
        config.write_text(CONFIG, encoding="utf-8")
        command = [str(programs / "schemathesis"), "--no-color", "--config-file", str(config), "run"]
        command += [f"{address}/openapi.json", "--checks", "all", "--phases", phases, "--seed", "1"]
        command += ["--max-examples", str(examples), "--request-timeout", str(REQUEST_SECONDS)]
        command += [
            "--max-response-time",
            str(HTTP_SECONDS),
            "--continue-on-failure",
            "--suppress-health-check",
            "all",
        ]
        done = subprocess.run(
            command, cwd=directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        alive = process.poll() is None
    generated = re.search(r"(\d+) generated", done.stdout)
    # Reports repeat bodies of many megabytes.
    report = "\n".join(line[:500] for line in done.stdout.splitlines())
    return Result(int(generated[1]) if generated else 0, done.returncode == 0, alive, report)


@contextmanager
def function() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """The address of the function as ``make serve`` runs it, and its process."""
    environment = {**os.environ, "MODEL_DIR": str(ensure_bundle().directory), "LOG_LEVEL": "ERROR"}
    command = [
        sys.executable,
        "-m",
        "scripts.local.serve",
        "--port",
        "0",
        "--max-body-bytes",
        str(MAX_BODY_BYTES),
    ]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            if found is None:
                raise RuntimeError("the function did not start")
            yield found[0], process
        finally:
            process.terminate()
            process.communicate(timeout=30)


def main() -> int:
    """Prints the report; 1 when a check failed or the function's process ended."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.dev.schema_fuzz", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--examples", type=int, default=100, help="for each operation (default: %(default)s)")
    result = run(parser.parse_args().examples)
    print(result.report)
    print(f"{result.cases} requests; the function's process {'stayed' if result.alive else 'ENDED'}")
    return 0 if result.passed and result.alive else 1


if __name__ == "__main__":
    sys.exit(main())
