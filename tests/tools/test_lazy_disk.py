"""A tiny file system that arrives chunk by chunk, and what remains of it when its process is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.harness import lazy_disk
from benchmarks.harness.attribution import group_of
from benchmarks.harness.lazy_disk import CHUNK

pytestmark = pytest.mark.fuse

ROOT = Path(__file__).parents[2]
DELAY = 0.05
# Mounts the file system of its first argument and reads a file of three chunks. Waits, when asked to.
PROGRAM = """
import json, sys, time
from pathlib import Path
from benchmarks.harness.image_disk import extents_of
from benchmarks.harness.lazy_disk import mounted
from benchmarks.harness.namespaces import run_contained

def read():
    backing, scratch, wait = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "wait"
    with mounted(backing, scratch, delay=float(sys.argv[4]), at_once=2) as disk:
        path = disk.root / "var/task/model.bin"
        before = len(disk.touched())
        began = time.monotonic()
        size = len(path.read_bytes())
        seconds = time.monotonic() - began
        after = disk.touched()
        extents = extents_of(path)
        again = time.monotonic()
        path.read_bytes()
        print(json.dumps({
            "size": size, "before": before, "seconds": seconds, "again": time.monotonic() - again,
            "chunks": [one.chunk for one in after], "bytes": sum(one.bytes_read for one in after),
            "extents": extents, "offsets": [one.offset for one in after],
        }), flush=True)
        if wait:
            time.sleep(60)
    return 7

sys.exit(run_contained(read))
"""


@pytest.fixture(scope="module")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ext4 file system of eight megabytes with one large file; skipped where it cannot be served."""
    lacking = lazy_disk.missing()
    if lacking:
        pytest.skip(f"no lazy image here: {lacking[0]}")
    directory = tmp_path_factory.mktemp("lazy")
    tree, path = directory / "tree", directory / "tiny.ext4"
    for name in ("var/task", "proc", "dev", "tmp"):
        (tree / name).mkdir(parents=True)
    (tree / "var/task/model.bin").write_bytes(os.urandom(3 * CHUNK))
    with path.open("wb") as stream:
        stream.truncate(16 * CHUNK)
    command = ["mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-d", str(tree), str(path)]
    subprocess.run(command, check=True)
    return path


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "mounts"
    path.mkdir()
    return path


def run(backing: Path, scratch: Path, how: str, delay: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(backing), str(scratch), how, str(delay)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def loop_devices(scratch: Path) -> list[str]:
    return [
        path.parts[3]
        for path in Path("/sys/block").glob("loop*/loop/backing_file")
        if path.read_text(encoding="utf-8").startswith(str(scratch))
    ]


def processes(scratch: Path) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(scratch).encode() in path.read_bytes():
                yield int(path.parts[2])
        except OSError:
            continue


def test_the_first_read_of_a_chunk_waits_and_is_listed(backing: Path, scratch: Path) -> None:
    process = run(backing, scratch, "once", DELAY)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    found = json.loads(output)
    assert found["size"] == 3 * CHUNK
    assert found["before"] < len(found["chunks"]) == len(set(found["chunks"]))
    wanted = {
        chunk
        for start, length in found["extents"]
        for chunk in range(start // CHUNK, (start + length - 1) // CHUNK + 1)
    }
    assert wanted <= set(found["chunks"])
    assert found["seconds"] >= DELAY
    assert found["again"] < DELAY
    assert 3 * CHUNK <= found["bytes"] <= 16 * CHUNK
    assert [offset // CHUNK for offset in found["offsets"]] == found["chunks"]
    assert group_of("var/task/model.bin") == "weights"
    assert loop_devices(scratch) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130)])
def test_nothing_remains_of_what_is_killed(
    backing: Path, scratch: Path, number: signal.Signals, status: int
) -> None:
    process = run(backing, scratch, "wait", 0)
    with process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["size"] == 3 * CHUNK
        assert len(loop_devices(scratch)) == 1
        process.send_signal(number)
        assert process.wait(30) == status
    until = time.monotonic() + 20
    while (loop_devices(scratch) or any(processes(scratch))) and time.monotonic() < until:
        time.sleep(0.05)
    assert loop_devices(scratch) == []
    assert list(processes(scratch)) == []
    assert str(scratch) not in Path("/proc/mounts").read_text(encoding="utf-8")
