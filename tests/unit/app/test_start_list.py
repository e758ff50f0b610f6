"""The list of what a start reads: a wrong one is found, and its reader leaves nothing behind."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart import clock, start_list
from lambda_app.coldstart.clock import PhaseClock, process_reads
from lambda_app.start import start
from scripts.paths import ROOT
from tests.support.fakes import Context

FINGERPRINTS = ["sha256:1", "sha256:2"]
LAUNCHER = ROOT / "scripts" / "image" / "launcher.c"


def test_a_list_fits_the_models_that_it_was_recorded_with(tmp_path: Path) -> None:
    path = tmp_path / "start.list"
    assert start_list.problem(str(path), FINGERPRINTS) == "cannot be read (No such file or directory)"
    path.write_text("something else\n", encoding="utf-8")
    assert start_list.problem(str(path), FINGERPRINTS) == "is not a list of what a start reads"
    path.write_text(start_list.heading(FINGERPRINTS) + "\n/usr/lib/libc.so\n0 0 4096\n", encoding="utf-8")
    assert start_list.problem(str(path), FINGERPRINTS) is None
    assert start_list.problem(str(path), FINGERPRINTS[:1]) == "was recorded with other models"


def test_a_start_with_a_wrong_list_warns_and_serves(
    tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    environ = {"MODEL_DIR": str(tiny_bundle.directory), "START_LIST": str(tmp_path / "none"), "PRELOAD": ""}
    handler = start(environ, PhaseClock())
    assert handler({"action": "embed", "texts": ["a"]}, Context())["embeddings"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    warning = next(line for line in lines if line["event"] == "start_list_ignored")
    assert warning["reason"].startswith("START_LIST cannot be read")
    invocation = next(line for line in lines if line["event"] == "invocation")
    assert invocation["cold"]
    assert {"major_faults", "read_bytes"} <= invocation.keys()


def test_the_process_that_reads_ahead_is_reaped_once_it_has_ended() -> None:
    reader = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(0.3)"])
    assert not start_list.reap(reader.pid)
    until = time.monotonic() + 10
    while not start_list.reap(reader.pid):
        assert time.monotonic() < until
        time.sleep(0.02)
    # Nothing is left to wait for, and asking again does no harm.
    assert start_list.reap(reader.pid)
    reader.returncode = 0


def test_reads_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {type(value) for value in process_reads().values()} == {int}
    # The command's name may hold what stands between fields (proc_pid_stat(5), proc_pid_io(5)).
    files = {
        "/proc/self/stat": b"7 (a) b (c) R " + b" ".join(b"%d" % number for number in range(4, 53)),
        "/proc/self/io": b"rchar: 9\nread_bytes: 4096\nwrite_bytes: 1\n",
    }
    monkeypatch.setattr(clock, "open", lambda name, mode: io.BytesIO(files[name]), raising=False)
    assert process_reads() == {"major_faults": 12, "read_bytes": 4096}


@pytest.fixture(scope="module")
def launcher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    path = tmp_path_factory.mktemp("launcher") / "launcher"
    subprocess.run(
        [compiler, "-O1", "-Wall", "-Wextra", "-Werror", "-pthread", "-o", path, LAUNCHER], check=True
    )
    return path


SHOW = "import os; print(os.environ.get('START_READER', ''))"


@pytest.mark.parametrize(
    ("content", "environment", "reads"),
    [
        ("start-list-1 sha256:1\n{file}\n/no/such/file\n0 0 8192\n1 0 4096\n7 0 4096\n", {}, True),
        ("start-list-1\n", {}, True),
        ("", {}, False),
        ("something else\n", {}, False),
        (None, {}, False),
        ("start-list-1\n{file}\n0 0 4096\n", {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}, False),
        (
            "start-list-1\n{file}\n0 0 4096\n",
            {"AWS_LAMBDA_INITIALIZATION_TYPE": "provisioned-concurrency"},
            False,
        ),
        ("start-list-1\n{file}\n0 0 4096\n", {"AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand"}, True),
    ],
)
def test_the_launcher_starts_its_program_whatever_the_list_is(
    launcher: Path, tmp_path: Path, content: str | None, environment: dict[str, str], reads: bool
) -> None:
    path = tmp_path / "start.list"
    if content is not None:
        path.write_text(content.format(file=LAUNCHER), encoding="utf-8")
    result = subprocess.run(
        [launcher, sys.executable, "-S", "-c", SHOW],
        env={**os.environ, "START_LIST": str(path), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip().isdigit() == reads
    assert result.stderr == ""


def test_the_launcher_says_what_it_cannot_start(launcher: Path) -> None:
    result = subprocess.run([launcher, "/no/such/program"], capture_output=True, text=True, check=False)
    assert result.returncode == 127
    assert "/no/such/program" in result.stderr
    assert subprocess.run([launcher], check=False).returncode == 2
