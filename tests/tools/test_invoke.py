"""Direct invocations on this machine: ``make invoke``, and Lambda's own path on the local server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from scripts.local import invoke
from scripts.local.invocation_api import is_invocation
from scripts.local.rie import PATH
from scripts.local.serve import GatewayServer
from scripts.paths import ROOT


@contextmanager
def serving(handler: Any) -> Iterator[str]:
    """Address of the local server over a handler."""
    with GatewayServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def echo(event: Any, context: Any) -> Any:
    if event == "raise":
        raise ValueError("broken")
    return {"event": event}


def post(address: str, body: bytes, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection(address, timeout=10)
    try:
        connection.request("POST", PATH, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
    finally:
        connection.close()


# Lambda's path


def test_a_post_to_the_emulators_path_is_a_direct_event() -> None:
    with serving(echo) as address:
        status, headers, body = post(address, b'{"action": "ping"}')
    assert (status, json.loads(body)) == (200, {"event": {"action": "ping"}})
    assert "x-amz-function-error" not in headers


def test_a_handler_that_raises_is_a_function_error() -> None:
    with serving(echo) as address:
        status, headers, body = post(address, b'"raise"')
    assert (status, headers["x-amz-function-error"]) == (200, "Unhandled")
    fault = json.loads(body)
    assert (fault["errorMessage"], fault["errorType"]) == ("broken", "ValueError")
    assert fault["requestId"] == headers["x-amzn-requestid"]


def test_an_event_that_is_not_json_is_refused() -> None:
    with serving(echo) as address:
        status, headers, _ = post(address, b"{")
    assert (status, headers["x-amzn-errortype"]) == (400, "InvalidRequestContentException")


@pytest.mark.parametrize(("kind", "status", "calls"), [("Event", 202, 1), ("DryRun", 204, 0)])
def test_other_kinds_of_invocation_have_no_response(kind: str, status: int, calls: int) -> None:
    events: list[Any] = []
    with serving(lambda event, context: events.append(event)) as address:
        got, _, body = post(address, b"{}", x_amz_invocation_type=kind)
    assert (got, body, len(events)) == (status, b"", calls)


@pytest.mark.parametrize(
    "path", ["/2015-03-31/functions", "/2015-03-31/functions/a/b/invocations", "/x" + PATH]
)
def test_only_lambdas_path_is_a_direct_invocation(path: str) -> None:
    assert is_invocation(PATH)
    assert is_invocation(f"{PATH}?Qualifier=live")
    assert not is_invocation(path)


def test_boto3_invokes_the_function() -> None:
    import boto3

    with serving(echo) as address:
        client = boto3.client(
            "lambda",
            endpoint_url=f"http://{address}",
            region_name="us-east-1",
            aws_access_key_id="id",
            aws_secret_access_key="secret",
        )
        response = client.invoke(FunctionName="function", Payload=json.dumps({"a": "é"}))
        with response["Payload"] as stream:
            assert json.load(stream) == {"event": {"a": "é"}}
        failed = client.invoke(FunctionName="function", Payload=b'"raise"')
        with failed["Payload"] as stream:
            assert json.load(stream)["errorMessage"] == "broken"
        client.close()
    assert response["StatusCode"] == 200
    assert "FunctionError" not in response
    assert failed["FunctionError"] == "Unhandled"


# make invoke


def run(name: str, bundle: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "scripts.local.invoke", name]
    environment = {**os.environ, "MODEL_DIR": bundle}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.minilm
def test_an_event_file_is_answered_on_standard_output_alone(minilm: Path) -> None:
    result = run("events/direct-embed.json", str(minilm))
    assert result.returncode == 0, result.stderr
    response = json.loads(result.stdout)
    assert len(response["embeddings"]) == 2
    assert len(response["embeddings"][0]) == response["dimensions"] == 384
    assert '"event": "invocation"' in result.stderr


def test_a_list_of_numbers_is_printed_on_one_line() -> None:
    response = {"vectors": [[1.5, -2e-05], []], "text": "[\n  1\n]", "items": [1], "names": ["a"]}
    text = invoke.printed(response)
    assert json.loads(text) == response
    assert "\n    [1.5, -2e-05],\n" in text
    assert '"items": [1],' in text


def test_a_bundle_that_is_missing_is_built_and_opened_by_a_new_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    steps: list[Any] = []

    def started(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        steps.append(command[1:])
        return subprocess.CompletedProcess(command, 7)

    monkeypatch.delenv("MODEL_DIR", raising=False)
    monkeypatch.delenv("MODEL_BUNDLE_URL", raising=False)
    monkeypatch.setattr(invoke, "current_bundle", lambda: None)
    monkeypatch.setattr(invoke, "ensure_bundle", lambda: steps.append("built"))
    monkeypatch.setattr(subprocess, "run", started)
    event = str(ROOT / "events" / "direct-ping.json")
    assert invoke.main([event]) == 7
    assert steps == ["built", ["-m", "scripts.local.invoke", event]]
    assert invoke.main(["none.json"]) == 2
    assert steps[2:] == []
    assert "cannot read none.json" in capsys.readouterr().err


def test_a_function_that_cannot_start_says_why(tmp_path: Path) -> None:
    result = run("events/direct-ping.json", str(tmp_path))
    assert result.returncode == 1
    assert "no model bundle at" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot read {}: No such file"), (b"", "{} is not JSON"), (b"\xff\xfe\x00", "{} is not JSON")],
)
def test_a_wrong_event_is_one_line(
    content: bytes | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_bytes(content)
    assert invoke.main([str(path)]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith(f"error[event]: {message.format(path)}")
    assert written.err.count("\n") == 1


def test_no_event_shows_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke.main([""]) == 2
    assert "make invoke EVENT=events/direct-embed.json" in capsys.readouterr().err


def test_a_function_that_raises_shows_what_lambda_would(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def raising(event: Any) -> Any:
        raise ValueError("broken")

    monkeypatch.setenv("MODEL_DIR", str(tmp_path))
    monkeypatch.setattr(invoke, "invoke", raising)
    assert invoke.main([str(ROOT / "events" / "direct-ping.json")]) == 1
    assert json.loads(capsys.readouterr().out)["errorMessage"] == "broken"
