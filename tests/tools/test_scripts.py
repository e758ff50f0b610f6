"""The tools around the function: the local gateway, the emulator's harness, the set-up."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lambda_app.errors import BundleError
from scripts.dev import bootstrap, environments
from scripts.local import embedded_bundle
from scripts.local.chunked import TooLargeError, read_chunked
from scripts.local.demo import failed, in_short
from scripts.local.gateway_events import http_event, http_response
from scripts.local.invocation_api import EVENT_BYTES, REQUEST_BYTES, invocation_response
from scripts.local.rie import Emulator, EmulatorError
from scripts.local.serve import MAX_BODY_BYTES, GatewayServer
from scripts.paths import ROOT
from scripts.processes import command_line

# The local gateway


@contextmanager
def gateway(answer: Any) -> Iterator[tuple[HTTPConnection, list[Any]]]:
    """A server over a handler that records events, and a connection to it."""
    events: list[Any] = []

    def handler(event: Any, context: Any) -> Any:
        assert context.get_remaining_time_in_millis() > 0
        events.append(event)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with GatewayServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_port, timeout=10)
        try:
            yield connection, events
        finally:
            connection.close()
            server.shutdown()
            thread.join()


def ask(connection: HTTPConnection, method: str, path: str, **more: Any) -> tuple[HTTPResponse, bytes]:
    connection.request(method, path, **more)
    response = connection.getresponse()
    return response, response.read()


OK = {"statusCode": 200, "headers": {"content-type": "text/plain"}, "body": "fine", "isBase64Encoded": False}


def test_a_request_becomes_an_http_api_event() -> None:
    with gateway(OK) as (connection, events):
        headers = {"Content-Type": "application/json", "Cookie": "a=1; b=2", "X-One": "1"}
        response, body = ask(
            connection, "POST", "/v1/x?k=1&k=2&e=", body='{"é": 1}'.encode(), headers=headers
        )
    assert (response.status, body) == (200, b"fine")
    (event,) = events
    assert event["version"] == "2.0"
    assert (event["rawPath"], event["rawQueryString"]) == ("/v1/x", "k=1&k=2&e=")
    assert event["queryStringParameters"] == {"k": "1,2", "e": ""}
    assert event["cookies"] == ["a=1", "b=2"]
    assert event["headers"]["content-type"] == "application/json"
    assert "cookie" not in event["headers"]
    assert event["requestContext"]["http"]["method"] == "POST"
    assert event["requestContext"]["http"]["sourceIp"] == "127.0.0.1"
    assert (event["body"], event["isBase64Encoded"]) == ('{"é": 1}', False)


def test_repeated_headers_are_joined() -> None:
    event = http_event("GET", "/", [("X-A", "1"), ("x-a", "2")], b"", "192.0.2.1", "h")
    assert event["headers"]["x-a"] == "1,2"
    assert "body" not in event


def test_a_body_that_is_no_text_travels_as_base64() -> None:
    event = http_event("POST", "/", [], b"\xff\x00", "192.0.2.1", "h")
    assert event["isBase64Encoded"] is True
    assert base64.b64decode(event["body"]) == b"\xff\x00"


def test_every_part_of_an_answer_is_written() -> None:
    status, headers, body = http_response(
        {
            "statusCode": 418,
            "headers": {"x-a": "1"},
            "multiValueHeaders": {"x-b": ["2", "3"]},
            "cookies": ["c=4"],
            "body": base64.b64encode(b"\xff").decode(),
            "isBase64Encoded": True,
        }
    )
    assert (status, body) == (418, b"\xff")
    assert headers == [("x-a", "1"), ("x-b", "2"), ("x-b", "3"), ("set-cookie", "c=4")]


def test_a_handler_that_raises_is_a_500_without_detail() -> None:
    with gateway(RuntimeError("secret")) as (connection, _):
        response, body = ask(connection, "GET", "/")
    assert response.status == 500
    assert json.loads(body) == {"message": "Internal Server Error"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Length": str(MAX_BODY_BYTES + 1)}, 413),
        ({"Content-Length": "9" * 30}, 413),
        ({"Content-Length": "-1"}, 400),
        ({"Transfer-Encoding": "gzip, chunked"}, 400),
        ({"Transfer-Encoding": "chunked", "Content-Length": "3"}, 400),
    ],
)
def test_bodies_are_bounded_before_they_are_read(headers: dict[str, str], status: int) -> None:
    with gateway(OK) as (connection, events):
        connection.putrequest("POST", "/")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().status == status
    assert events == []


def test_a_body_in_chunks_is_read() -> None:
    with gateway(OK) as (connection, events):
        parts = (part for part in [b'{"input": ', b'["a"]', b"}"])
        connection.request("POST", "/v1/embeddings", parts, {"content-type": "application/json"})
        assert connection.getresponse().status == 200
    assert json.loads(events[0]["body"]) == {"input": ["a"]}


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n2;name=value\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"A\r\n0123456789\r\n000\r\nchecksum: 1\r\n\r\n", b"0123456789"),
    ],
)
def test_chunks_are_put_together(stream: bytes, body: bytes) -> None:
    rest = io.BytesIO(stream + b"next")
    assert read_chunked(rest, 10) == body
    assert rest.read() == b"next"


@pytest.mark.parametrize(
    "stream",
    [
        *(b"", b"\r\n", b"x\r\n", b"-1\r\n", b"+3\r\nabc\r\n0\r\n\r\n", b"0x3\r\nabc\r\n0\r\n\r\n"),
        *(b"3\r\nab", b"3\r\nabc", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\r\n", b"0\r\n"),
        *(b"3" + b" " * 2_000 + b"\r\nabc\r\n0\r\n\r\n", b"0\r\n" + b"a: b\r\n" * 1_000 + b"\r\n"),
    ],
)
def test_malformed_chunks_are_refused(stream: bytes) -> None:
    with pytest.raises(ValueError, match=r"chunk|line|trailers"):
        read_chunked(io.BytesIO(stream), 10)


@pytest.mark.parametrize("stream", [b"b\r\n0123456789a\r\n0\r\n\r\n", b"1\r\na\r\n" * 11, b"ffffffff\r\n"])
def test_chunks_are_bounded_together(stream: bytes) -> None:
    with pytest.raises(TooLargeError):
        read_chunked(io.BytesIO(stream), 10)


@pytest.mark.parametrize(
    "body", [b"x" * REQUEST_BYTES, b"\xff" * (REQUEST_BYTES * 3 // 4), b'"' * (REQUEST_BYTES // 2)]
)
def test_an_event_that_lambda_refuses_is_refused(body: bytes) -> None:
    """The limit is on the event: a body of bytes is a third larger in it, and quotes take two bytes."""
    with gateway(OK) as (connection, events):
        response, answer = ask(connection, "POST", "/v1/embeddings", body=body)
        assert (response.status, events) == (413, [])
        assert json.loads(answer) == {"message": "Request Entity Too Large"}
    with gateway(OK) as (connection, events):
        response, _ = ask(connection, "POST", "/v1/embeddings", body=body[: -len(body) // 1000])
        assert response.status == 200
        assert len(json.dumps(events[0], ensure_ascii=False).encode()) <= REQUEST_BYTES


@pytest.mark.parametrize(("kind", "limit"), [("RequestResponse", REQUEST_BYTES), ("Event", EVENT_BYTES)])
def test_a_payload_that_lambda_refuses_is_refused(kind: str, limit: int) -> None:
    events: list[Any] = []
    payload = b'"' + b"x" * (limit - 2) + b'"'

    def handler(event: Any, context: Any) -> None:
        events.append(event)

    assert invocation_response(handler, payload, kind)[0] in {200, 202}
    assert len(events) == 1
    status, headers, body = invocation_response(handler, payload + b" ", kind)
    assert (status, len(events)) == (413, 1)
    assert ("x-amzn-errortype", "RequestTooLargeException") in headers
    assert f"limit {limit} bytes" in json.loads(body)["message"]


def test_a_head_request_has_no_body() -> None:
    with gateway(OK) as (connection, _):
        response, body = ask(connection, "HEAD", "/")
    assert (response.status, response.headers["content-length"], body) == (200, "4", b"")


def test_a_client_that_goes_away_does_not_stop_the_server() -> None:
    with gateway(OK) as (connection, _):
        with socket.create_connection((connection.host, connection.port or 0)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc")
        response, _ = ask(connection, "GET", "/")
    assert response.status == 200


@pytest.mark.minilm
def test_a_taken_port_is_named(minilm: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "scripts.local.serve", "--port", str(taken.getsockname()[1])]
        environment = {**os.environ, "MODEL_DIR": str(minilm)}
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
    assert result.returncode == 1
    assert "--port takes another" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_server_without_a_bundle_says_what_to_do() -> None:
    command = [sys.executable, "-m", "scripts.local.serve", "--port", "0"]
    environment = {**os.environ, "MODEL_DIR": "/nowhere"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "build_models.py" in result.stderr
    assert "Traceback" not in result.stderr


# The emulator

FUNCTION = """
import json, os, sys, time
print(json.dumps({"event": "cold_start"}), flush=True)
def handler(event, context):
    if event == "raise":
        raise ValueError("reason")
    if event == "exit":
        os._exit(3)
    if event == "child":
        import subprocess
        subprocess.Popen(["sleep", "60"])
    return {"event": event, "environment": sorted(os.environ)}
"""


@pytest.fixture
def small(rie: Path, tmp_path: Path) -> Iterator[Emulator]:
    """A function without models under the emulator."""
    (tmp_path / "small.py").write_text(FUNCTION, encoding="utf-8")
    command = [sys.executable, "-m", "awslambdaric", "small.handler"]
    with Emulator({"SETTING": "1"}, command=command, directory=tmp_path) as emulator:
        yield emulator


@pytest.mark.emulator
def test_the_function_sees_only_what_it_is_given(small: Emulator) -> None:
    pids = [small.runtime_pid]
    answer = small.invoke({"a": "é"})
    assert answer["event"] == {"a": "é"}
    assert {"PATH", "SETTING", "AWS_LAMBDA_RUNTIME_API"} <= set(answer["environment"])
    assert "HOME" not in answer["environment"]
    pids.append(small.runtime_pid)
    assert pids[0] is None
    assert pids[1] is not None
    assert small.log == [{"event": "cold_start"}]


@pytest.mark.emulator
def test_faults_are_answers_and_a_lost_process_is_an_error(small: Emulator) -> None:
    assert small.invoke("raise")["errorMessage"] == "reason"
    before = small.runtime_pid
    with pytest.raises(EmulatorError, match="exit status 3"):
        small.invoke("exit")
    assert small.invoke(1)["event"] == 1
    assert small.runtime_pid not in (None, before)


@pytest.mark.emulator
def test_nothing_outlives_the_emulator(small: Emulator) -> None:
    small.invoke("child")
    pids = small.session_pids()
    assert len(pids) == 2
    small.stop()
    # A process that has ended may be listed until the system's first process has taken note of it.
    assert [pid for pid in pids if command_line(pid)] == []
    small.stop()


@pytest.mark.emulator
def test_a_demo_that_is_ended_ends_the_function(rie: Path, minilm: Path) -> None:
    code = "import scripts.local.demo as demo, time\n"
    code += "wait = lambda invoke: (invoke({'action': 'ping'}), print('up', flush=True), time.sleep(60))\n"
    code += "demo.show_events = wait\n"
    code += "raise SystemExit(demo.main())\n"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert any(line == "up\n" for line in process.stdout or ())
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        emulator = int(children.read_text(encoding="ascii"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 143
    until = time.monotonic() + 5
    while Path(f"/proc/{emulator}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{emulator}").exists()


# The demo


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ({"ok": True}, False),
        ({"statusCode": 200, "body": "{}"}, False),
        ({"statusCode": 400, "body": "{}"}, True),
        ({"error": {"code": "c", "message": "m"}}, True),
        ({"errorMessage": "m", "errorType": "t"}, True),
        ("Task timed out", True),
    ],
)
def test_the_demo_knows_an_error(answer: Any, wrong: bool) -> None:
    assert failed(answer) is wrong
    assert in_short(answer)


# The bundle that demo and tests share


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Directories that were built, by a build that writes a checksum only."""
    built: list[Path] = []

    def build(directory: Path) -> None:
        built.append(directory)
        directory.mkdir(exist_ok=True)
        (directory / "manifest.json").write_text(json.dumps({"checksum": f"build {len(built)}"}))

    def read_manifest(directory: Path) -> Any:
        return json.loads((directory / "manifest.json").read_text())

    def open_bundle(directory: Path) -> Any:
        if not (directory / "manifest.json").exists():
            raise BundleError("none")
        return SimpleNamespace(directory=directory)

    monkeypatch.setattr(embedded_bundle, "_build", build)
    monkeypatch.setattr(embedded_bundle, "read_manifest", read_manifest)
    monkeypatch.setattr(embedded_bundle, "Bundle", SimpleNamespace(open=open_bundle))
    monkeypatch.setattr(embedded_bundle, "CACHE", tmp_path / "cache")
    return built


def test_a_bundle_is_built_once_and_again_when_its_sources_change(
    builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        embedded_bundle.ensure_bundle(tmp_path / "models")
    assert len(builds) == 1
    monkeypatch.setattr(embedded_bundle, "_inputs", lambda: "changed")
    for _ in range(2):
        embedded_bundle.ensure_bundle(tmp_path / "models")
    assert len(builds) == 2


def test_a_bundle_that_somebody_else_built_is_left_alone(builds: list[Path], tmp_path: Path) -> None:
    embedded_bundle.ensure_bundle(tmp_path / "models")
    (tmp_path / "models" / "manifest.json").write_text(json.dumps({"checksum": "of another build"}))
    embedded_bundle.ensure_bundle(tmp_path / "models")
    assert len(builds) == 1


def test_a_bundle_that_is_named_is_served_and_none_is_built(
    builds: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    named = tmp_path / "named"
    monkeypatch.setenv("MODEL_DIR", str(named))
    assert embedded_bundle.main() == 1
    assert capsys.readouterr().err == "error[invalid_bundle]: none\n"
    named.mkdir()
    (named / "manifest.json").write_text("{}")
    monkeypatch.setattr(
        embedded_bundle,
        "Bundle",
        SimpleNamespace(
            open=lambda path: SimpleNamespace(
                directory=Path(path), models=lambda: [SimpleNamespace(id="a/model")]
            )
        ),
    )
    assert embedded_bundle.main() == 0
    assert capsys.readouterr().out == f"bundle: {named}/ (a/model)\n"
    monkeypatch.setenv("MODEL_BUNDLE_URL", "http://127.0.0.1:9/?signature=secret")
    assert embedded_bundle.main() == 0
    assert "secret" not in capsys.readouterr().out
    assert builds == []


def test_variables_are_quoted_in_the_makefile() -> None:
    recipes = [line for line in (ROOT / "Makefile").read_text("utf-8").splitlines() if line.startswith("\t@")]
    used = [line for line in recipes if re.search(r"\$\((PYTHON|PORT|EVENT|CONFIG)\)", line)]
    assert len(used) >= 8
    for line in used:
        command = re.sub(r'echo "[^"]*"', "", line)
        assert not re.search(
            r'(?<!")\$\((PYTHON|PORT|EVENT|CONFIG)\)|\$\((PYTHON|PORT|EVENT|CONFIG)\)(?!")', command
        )


def test_tools_are_installed_as_wheels_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[list[str]] = []
    monkeypatch.setattr(environments, "run_pip", lambda arguments, python: calls.append(arguments))
    environments.install(tmp_path / "python", tmp_path / "scan.txt", "--no-deps", "--require-hashes")
    assert "--only-binary :all:" in " ".join(calls[0])


# The set-up


@pytest.fixture
def empty_venv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The set-up pointed at a directory without a virtual environment."""
    monkeypatch.setattr(bootstrap, "VENV", str(tmp_path / ".venv"))
    monkeypatch.setattr(bootstrap, "PYTHON", str(tmp_path / ".venv" / "bin" / "python"))
    return tmp_path / ".venv"


def test_an_old_python_is_named(
    empty_venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 1))
    assert bootstrap.main(["build"]) == 1
    assert "this is Python 3.8, and 3.11 to 3.14 are supported" in capsys.readouterr().err
    assert not empty_venv.exists()


def test_a_full_disk_is_found_before_anything_is_written(
    empty_venv: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    assert bootstrap.main(["build"]) == 1
    assert "0.1 GB are free" in capsys.readouterr().err
    assert not empty_venv.exists()


def test_a_half_made_environment_is_made_anew(empty_venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_venv / "bin").mkdir(parents=True)
    (empty_venv / "bin" / "python").symlink_to("/nowhere/python3")
    (empty_venv / ".installed-build").write_text(bootstrap.fingerprint("build"))
    installed: list[str] = []
    monkeypatch.setenv("TORCH_INDEX_URL", "http://127.0.0.1:9/")
    monkeypatch.setattr(bootstrap, "pip", lambda what, arguments: installed.append(what))
    assert bootstrap.main(["build"]) == 0
    assert bootstrap.usable(bootstrap.PYTHON)
    assert len(installed) == 3
    assert bootstrap.main(["build"]) == 0
    assert len(installed) == 3, "nothing has changed since"


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "disk is full",
        ),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "hash differs"),
        ("WARNING: Retrying ... NewConnectionError('... Failed to establish')", "cannot be reached"),
        ("ERROR: Could not find a version that satisfies x (from versions: none)", "cannot be reached"),
        ("ERROR: something else", "see above"),
    ],
)
def test_what_pip_says_is_one_line(output: str, reason: str) -> None:
    assert reason in bootstrap.reason(output)


@pytest.fixture
def pip_calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of each ``pip install`` of the set-up, which are not run."""
    calls: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "PYTHON", sys.executable)
    monkeypatch.setattr(bootstrap, "pip", lambda what, arguments: calls.append(arguments))
    # Another index of this machine's could answer in place of the one that is asked.
    for name in [*os.environ]:
        if name.startswith("PIP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.delenv("TORCH_INDEX_URL", raising=False)
    return calls


def test_pytorch_comes_without_the_dependencies_that_are_locked(
    pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", "http://127.0.0.1:9/")
    bootstrap.install_torch()
    assert len(pip_calls) == 1
    assert {"--no-deps", "--only-binary", "--index-url", "http://127.0.0.1:9/"} <= set(pip_calls[0])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pip's own index has the CPU build")
def test_pytorch_comes_from_the_index_of_cpu_wheels_where_that_answers(
    pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = b'<html><body><a href="torch-2.13.0-py3-none-any.whl">torch</a></body></html>'

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(bootstrap, "CPU_INDEX", url)
        bootstrap.install_torch()
        server.shutdown()
    assert pip_calls[0][-2:] == ["--index-url", url]
    assert capsys.readouterr().err == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere pip's own index has the CPU build")
def test_an_index_that_cannot_be_reached_is_named_in_one_line_and_soon(
    pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bootstrap, "CPU_INDEX", "http://127.0.0.1:9")
    began = time.monotonic()
    bootstrap.install_torch()
    assert time.monotonic() - began < 15
    assert "--index-url" not in pip_calls[0]
    assert "--no-deps" in pip_calls[0]
    (line,) = capsys.readouterr().err.splitlines()
    assert "http://127.0.0.1:9 cannot be reached: PyTorch comes from pip's own index" in line
    # A build for GPUs cannot be imported without its libraries.
    monkeypatch.setattr(bootstrap, "imports", lambda name: False)
    bootstrap.install_torch()
    assert "--no-deps" not in pip_calls[-1]
    assert "--only-binary" in pip_calls[-1]


def test_an_empty_index_means_that_of_pip(
    pip_calls: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_INDEX_URL", "")
    bootstrap.install_torch()
    assert "--index-url" not in pip_calls[0]


def test_large_downloads_are_named_without_their_address(capsys: pytest.CaptureFixture[str]) -> None:
    for line in (
        "  Downloading http://user:secret@127.0.0.1/x/torch-1-py3-none-any.whl (190.1 MB)",
        "  Downloading small.whl (1.5 MB)",
        "Collecting other",
        "Installing collected packages: a, b, c",
    ):
        bootstrap.tell(line)
    assert capsys.readouterr().err.splitlines() == [
        "set-up:   downloading torch-1-py3-none-any.whl (190.1 MB)",
        "set-up:   unpacking 3 packages",
    ]


def test_the_set_up_can_be_read_by_an_old_python() -> None:
    import ast

    source = (ROOT / "scripts" / "dev" / "bootstrap.py").read_text(encoding="utf-8")
    ast.parse(source, feature_version=(3, 7))
