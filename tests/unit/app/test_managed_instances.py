"""Lambda Managed Instances: several processes of one environment, forked by Lambda's own runtime client."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.cpu import available_cpus
from lambda_app.models.registry import ModelRegistry
from lambda_app.settings import Settings
from tests.support.runtime_api import runtime_api

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = 4
TEXTS = ["a text", "another", "a third one, which is longer than the others", "the last"]


def environ(**changes: str) -> dict[str, str]:
    return {"AWS_LAMBDA_INITIALIZATION_TYPE": "lambda-managed-instances", **changes}


@pytest.mark.parametrize(
    ("cpus", "processes", "threads"), [(16, "4", 4), (16, "16", 1), (2, "4", 1), (8, "3", 2), (8, "1", 2)]
)
def test_processes_share_the_cpus_whatever_the_memory(cpus: int, processes: str, threads: int) -> None:
    variables = environ(AWS_LAMBDA_MAX_CONCURRENCY=processes, AWS_LAMBDA_FUNCTION_MEMORY_SIZE="2048")
    assert Settings.from_env(variables).inference_threads(cpus) == threads


def test_configured_threads_win() -> None:
    variables = environ(AWS_LAMBDA_MAX_CONCURRENCY="4", INFERENCE_THREADS="3")
    assert Settings.from_env(variables).inference_threads(8) == 3


@pytest.mark.parametrize(
    ("memory", "processes", "repacks"), [(2048, 4, False), (8192, 4, True), (512, 1, True)]
)
def test_weights_stay_shared_where_copies_would_not_fit(
    tiny_bundle: Bundle, memory: int, processes: int, repacks: bool
) -> None:
    variables = environ(
        AWS_LAMBDA_MAX_CONCURRENCY=str(processes),
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE=str(memory),
        MODEL_DIR=str(tiny_bundle.directory),
    )
    registry = ModelRegistry(Settings.from_env(variables), PhaseClock())
    assert (registry._prepack is True) is repacks


def serve(bundle: Bundle, events: list[Any], processes: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answers by request, and the log lines, of a function with so many processes."""
    with runtime_api(events, together=processes) as api:
        variables = environ(
            PATH=os.defpath,
            MODEL_DIR=str(bundle.directory),
            AWS_LAMBDA_RUNTIME_API=api.address,
            AWS_LAMBDA_MAX_CONCURRENCY=str(processes),
        )
        command = [sys.executable, "-m", "awslambdaric", "lambda_app.handler.handler"]
        with subprocess.Popen(
            command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            try:
                assert api.done.wait(120)
                deadline = time.monotonic() + 60
                while len(api.responses) < len(events) and time.monotonic() < deadline:
                    time.sleep(0.01)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
            output = process.communicate()[0]
    return api.responses, [json.loads(line) for line in output.splitlines() if line.startswith('{"level"')]


def test_four_processes_answer_as_one_does(tiny_bundle: Bundle) -> None:
    embed = [{"action": "embed", "texts": [text]} for text in TEXTS * 3]
    rerank = {"action": "rerank", "query": "a text", "documents": TEXTS}
    events = [*embed, rerank, {"action": "info"}]
    alone, _ = serve(tiny_bundle, events, 1)
    together, lines = serve(tiny_bundle, events, PROCESSES)
    names = [f"request-{number}" for number in range(1, len(events))]
    assert [together[name] for name in names] == [alone[name] for name in names]
    assert len(together) == len(events)

    starts = [line for line in lines if line["event"] == "cold_start"]
    served = [line for line in lines if line["event"] == "invocation"]
    processes = {line["process"] for line in starts}
    assert len(starts) == len(processes) == PROCESSES
    assert {line["process"] for line in served} == processes
    assert len(served) == len(events)
    info = together[f"request-{len(events)}"]
    assert info["threads"] == max(1, available_cpus() // PROCESSES)


def test_one_process_is_not_named(tiny_bundle: Bundle) -> None:
    _, lines = serve(tiny_bundle, [{"action": "ping"}], 1)
    assert [line["event"] for line in lines] == ["cold_start", "invocation"]
    assert not any("process" in line for line in lines)
