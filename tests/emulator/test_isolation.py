"""What the function asks of its surroundings: nothing but Lambda's runtime API and files to read.

Traced with strace, and run as Lambda runs it: read-only file system, no network, an unknown user, no HOME.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from scripts.local.rie import HANDLER, HOST, Emulator
from scripts.paths import ROOT
from tests.support.function_checks import GOOD, assert_vectors, read_event

pytestmark = pytest.mark.minilm

CALLS = "socket,connect,bind,listen,open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,rename,renameat"
CALLS += ",renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmod,execve"
CALLS += ",execveat"
OPENS = {"open", "openat", "openat2", "creat"}
SOCKETS = {"socket", "connect", "bind", "listen"}
# One finished system call of one thread: "1234 openat(AT_FDCWD, "/x", O_RDONLY) = 3".
LINE = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")
# A user that no passwd file knows, as in Lambda.
UID, GID = 993, 990


class Call(NamedTuple):
    name: str
    arguments: str
    result: str


def read_trace(path: Path) -> list[Call]:
    """All calls, those that strace had to write in two halves joined again."""
    halves: dict[str, str] = {}
    calls = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        pid = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            halves[pid] = line.removesuffix("<unfinished ...>")
            continue
        resumed = re.match(r"^\d+ +<\.\.\. \w+ resumed>", line)
        match = LINE.match(halves.pop(pid, "") + line[resumed.end() :] if resumed else line)
        if match:
            calls.append(Call(match["name"], match["arguments"], match["result"]))
    return calls


@pytest.fixture(scope="module")
def traced(rie: Path, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Call]:
    """The system calls of a cold start and of one request through each entry point."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    trace = tmp_path_factory.mktemp("trace") / "calls"
    home = tmp_path_factory.mktemp("home")
    command = [strace, "-f", "-qq", "-s", "300", "-o", str(trace), "-e", f"trace={CALLS}"]
    command += [sys.executable, "-m", "awslambdaric", HANDLER]
    # HOME is there and can be written to: a library that wants to keep something finds where. Compiled code
    # is all there in the image; what is missing of it here must not be taken for the function's own writing.
    environment = {"MODEL_DIR": str(minilm), "HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    with Emulator(environment, command=command) as emulator:
        assert_vectors(emulator.invoke(GOOD)["embeddings"], GOOD["texts"])  # type: ignore[arg-type]
        for name in ("http-v2-embed.json", "http-v2-rerank.json", "direct-rerank.json", "direct-info.json"):
            answer = emulator.invoke(read_event(name))
            assert answer.get("statusCode", 200) == 200
            assert "errorMessage" not in answer
    assert list(home.iterdir()) == []
    return read_trace(trace)


@pytest.mark.emulator
def test_no_socket_but_the_runtime_apis(traced: list[Call]) -> None:
    connects = [call for call in traced if call.name == "connect"]
    assert connects, "the trace saw nothing"
    assert [call for call in connects if f'inet_addr("{HOST}")' not in call.arguments] == []
    ports = {match[1] for call in connects if (match := re.search(r"htons\((\d+)\)", call.arguments))}
    assert len(ports) == 1
    assert [call for call in traced if call.name in {"bind", "listen"}] == []


@pytest.mark.emulator
def test_no_file_is_created_or_changed(traced: list[Call]) -> None:
    opened = [call for call in traced if call.name in OPENS]
    assert any("model.bin" in call.arguments for call in opened), "the trace saw nothing"
    written = [call for call in opened if re.search("O_CREAT|O_WRONLY|O_RDWR|O_TRUNC", call.arguments)]
    # Opening what is no file leaves nothing behind.
    assert [call for call in written if '"/dev/' not in call.arguments] == []
    changing = [call for call in traced if call.name not in OPENS | SOCKETS | {"execve"}]
    assert changing == []


@pytest.mark.emulator
def test_no_other_program_is_run(traced: list[Call]) -> None:
    # One for the function itself.
    assert len([call for call in traced if call.name in {"execve", "execveat"} and call.result == "0"]) == 1


# Run by root in namespaces of its own, in which nothing can be written and no network is up; becomes nobody.
# The one capability kept reads files that only their owner may read, as a developer's home is full of.
CAGE = """
set -eu
mount --make-rprivate /
while umount -l /dev/shm 2>/dev/null; do :; done
cut -d' ' -f2 /proc/self/mounts | sort -r | while read -r place; do
    case "$place" in /proc|/proc/*|/sys|/sys/*) continue ;; esac
    mount -o remount,bind,ro "$place" 2>/dev/null || true
done
exec setpriv --reuid={uid} --regid={gid} --clear-groups --no-new-privs \
    --inh-caps=-all,+dac_read_search --ambient-caps=-all,+dac_read_search \
    --bounding-set=-all,+dac_read_search \
    env -i PATH=/usr/bin:/bin MODEL_DIR="$1" AWS_LAMBDA_FUNCTION_MEMORY_SIZE=1024 "$2" -c "$3"
"""
INSIDE = """
import json, os, pwd, socket, sys
facts = {"uid": os.getuid(), "home": os.environ.get("HOME"), "shm": os.path.ismount("/dev/shm")}
try:
    pwd.getpwuid(os.getuid())
    facts["known"] = True
except KeyError:
    facts["known"] = False
for name in ("/tmp/x", "/var/tmp/x", "./x"):
    try:
        open(name, "w").close()
        facts["wrote"] = name
    except OSError:
        pass
try:
    socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError as error:
    facts["network"] = error.strerror
from lambda_app.handler import handler
answers = [handler(event, None) for event in json.load(open(os.environ.get("EVENTS", "/dev/stdin")))]
print(json.dumps({"facts": facts, "answers": answers}))
"""


def test_read_only_without_network_home_or_a_known_user(minilm: Path) -> None:
    if os.geteuid() != 0 or sys.platform != "linux":
        pytest.skip("mounting takes root on Linux")
    if not (shutil.which("unshare") and shutil.which("setpriv")):
        pytest.skip("util-linux is not installed")
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no new namespaces")
    events = [
        GOOD,
        *(read_event(name) for name in ("http-v2-embed.json", "direct-rerank.json", "direct-info.json")),
    ]
    script = CAGE.format(uid=UID, gid=GID)
    result = subprocess.run(
        ["unshare", "--mount", "--net", "sh", "-c", script, "sh", str(minilm), sys.executable, INSIDE],
        cwd=ROOT,
        input=json.dumps(events),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["facts"] == {
        "uid": UID,
        "home": None,
        "shm": False,
        "known": False,
        "network": "Network is unreachable",
    }
    embedded, http, ranked, info = report["answers"]
    assert_vectors(embedded["embeddings"], GOOD["texts"])  # type: ignore[arg-type]
    assert http["statusCode"] == 200
    assert [result["index"] for result in ranked["results"]] == [1, 2]
    assert info["memory_mb"] == 1024
    # Complaints about what is missing (thread affinity, a home folder) would end up in every log.
    assert result.stderr == ""
