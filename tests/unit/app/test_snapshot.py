"""SnapStart: eager init, hooks run by the runtime interface client, and the resumed function answers."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart import snapshot
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.coldstart.logs import JsonLog
from tests.support.runtime_api import runtime_api

ROOT = Path(__file__).resolve().parents[3]


def test_a_resumed_copy_has_its_own_randomness(capsys: pytest.CaptureFixture[str]) -> None:
    random.seed(7)
    frozen = random.getstate()
    drawn = random.random()
    random.setstate(frozen)
    snapshot.after_restore(PhaseClock(), JsonLog(20))
    assert random.random() != drawn
    assert json.loads(capsys.readouterr().out)["event"] == "restored"


def test_the_snapshot_is_warm_and_the_resumed_function_answers(tiny_bundle: Bundle) -> None:
    events = [{"action": "embed", "texts": ["hello"]}, {"action": "info"}]
    with runtime_api(events) as api:
        environment = {
            "PATH": os.defpath,
            "MODEL_DIR": str(tiny_bundle.directory),
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start",
        }
        command = [sys.executable, "-m", "awslambdaric", "lambda_app.handler.handler"]
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert api.done.wait(60)
            finally:
                process.kill()
            output = process.communicate()[0]
    assert api.calls[0] == "restore/next"
    assert api.calls[1] == "invocation/next"
    embedded, info = api.answers
    assert tiny_bundle.embedding is not None
    assert embedded["dimensions"] == tiny_bundle.embedding.dimensions
    assert "first inference" in info["cold_start"]["phases_ms"]
    assert info["initialization_type"] == "snap-start"
    events_logged = [json.loads(line)["event"] for line in output.splitlines() if line.startswith("{")]
    assert events_logged[:2] == ["cold_start", "restored"]
