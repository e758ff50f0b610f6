"""The cold start's line: a log line as any other, and a metric for CloudWatch."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.start import start


def cold_start_line(
    bundle: Bundle, capsys: pytest.CaptureFixture[str], **environ: str
) -> dict[str, Any] | None:
    start({"MODEL_DIR": str(bundle.directory), "PRELOAD": "", **environ}, PhaseClock())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return lines[0] if lines else None


@pytest.mark.parametrize("level", ["INFO", "ERROR"])
def test_the_line_is_in_embedded_metric_format(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    before = time.time() * 1000
    # At any level: a dashboard must not go blank with the log.
    line = cold_start_line(tiny_bundle, capsys, AWS_LAMBDA_FUNCTION_NAME="embeddings", LOG_LEVEL=level)
    assert line is not None
    embedded = line.pop("_aws")
    assert before - 1 <= embedded.pop("Timestamp") <= time.time() * 1000
    assert embedded == {
        "CloudWatchMetrics": [
            {
                "Namespace": "LambdaEmbedRerank",
                "Dimensions": [["FunctionName", "InitializationType"]],
                "Metrics": [{"Name": "ColdStartDuration", "Unit": "Milliseconds"}],
            }
        ]
    }
    phases = line.pop("phases_ms")
    assert line == {
        "level": "INFO",
        "event": "cold_start",
        "initialization_type": "on-demand",
        "FunctionName": "embeddings",
        "InitializationType": "on-demand",
        "ColdStartDuration": phases["total"],
    }


def test_namespaces_can_be_chosen(tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    line = cold_start_line(tiny_bundle, capsys, AWS_LAMBDA_FUNCTION_NAME="f", METRICS_NAMESPACE="Search")
    assert line is not None
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Search"


@pytest.mark.parametrize(
    "environ", [{}, {"AWS_LAMBDA_FUNCTION_NAME": "f", "METRICS_NAMESPACE": ""}], ids=["no function", "off"]
)
def test_no_metric_without_a_function_or_a_namespace(
    tiny_bundle: Bundle, capsys: pytest.CaptureFixture[str], environ: dict[str, str]
) -> None:
    line = cold_start_line(tiny_bundle, capsys, **environ)
    assert line is not None
    assert line.keys() == {"level", "event", "initialization_type", "phases_ms"}
    assert cold_start_line(tiny_bundle, capsys, LOG_LEVEL="ERROR", **environ) is None
