"""Which 512 KiB chunks of an image a cold start touches.

The image is flattened into one ext4 file system, mounted from a loop device, and the function started from it
with nothing of it in the page cache. Pages of the backing file that are resident afterwards are what was
read, this kernel's read-ahead included. Needs root.
"""

from __future__ import annotations

import mmap
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import pagecache
from benchmarks.measure import workload
from scripts.local.container import GID, UID
from scripts.local.rie import Emulator

# https://www.usenix.org/conference/atc23/presentation/brooker (On-demand Container Loading in AWS Lambda)
CHUNK = 512 << 10
HANDLER = "lambda_app.handler.handler"
PARTS = ("opt/venv", "var/task/models", "var/task/imports.pack", "usr")


class ChunkError(RuntimeError):
    """The image could not be laid out or started."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Bytes of the image's files, of the pages that were read, and of the chunks that these lie in.

    ``parts`` has the read bytes of files by directory.
    """

    used: int
    pages: int
    chunks: int
    parts: dict[str, int] = field(default_factory=dict)

    def summary(self) -> str:
        """Returns a few lines for a terminal."""
        share = 100 * self.chunks / self.used
        first = (
            f"a cold start touches {self.chunks // CHUNK} chunks of 512 KiB: {self.chunks / 1e6:.0f} MB of "
            f"{self.used / 1e6:.0f} MB ({share:.0f}%); {self.pages / 1e6:.0f} MB of pages were read"
        )
        parts = [f"  {name:<24}{size / 1e6:>7.1f} MB read" for name, size in self.parts.items()]
        return "\n".join([first, *parts])


def touched_at_cold_start(image: str, docker: str) -> Touched:
    """Starts the image's function from an unread file system, for one embedding and one ranking.

    Raises:
        ChunkError: with what the failing command said.
    """
    with tempfile.TemporaryDirectory(prefix="chunks-") as scratch:
        backing, root = Path(scratch) / "image.ext4", Path(scratch) / "root"
        root.mkdir()
        used = _lay_out(image, docker, backing, Path(scratch) / "tree")
        with _mounted(backing, root):
            pagecache.evict([backing])
            if pagecache.resident_bytes([backing]) > CHUNK * 8:
                raise ChunkError("the page cache does not let go of the image")
            _start(root)
            pages, chunks = _resident(backing)
            parts = {name: pagecache.resident_bytes(pagecache.files_below([root / name])) for name in PARTS}
    return Touched(used, pages, chunks, parts)


def _lay_out(image: str, docker: str, backing: Path, tree: Path) -> int:
    tree.mkdir()
    container = _run(docker, "create", image).strip()
    try:
        with subprocess.Popen([docker, "export", container], stdout=subprocess.PIPE) as export:
            subprocess.run(["tar", "-x", "-C", str(tree)], stdin=export.stdout, check=True)
    finally:
        _run(docker, "rm", container)
    used = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
    with backing.open("wb") as stream:
        stream.truncate(used * 5 // 4 + (64 << 20))
    _run("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-d", str(tree), str(backing))
    _run("rm", "-rf", str(tree))
    return used


@contextmanager
def _mounted(backing: Path, root: Path) -> Iterator[None]:
    _run("mount", "-o", "loop,ro", str(backing), str(root))
    mounts = [root]
    try:
        for name in ("proc", "dev"):
            _run("mount", "--bind", f"/{name}", str(root / name))
            mounts.append(root / name)
        yield
    finally:
        for place in reversed(mounts):
            _run("umount", "--lazy", str(place))


def _start(root: Path) -> None:
    boot = "/var/task/lambda_app/coldstart/boot.pyc"
    inside = ["/var/task/launcher", "/opt/venv/bin/python", "-I", "-S", "-B", boot, HANDLER]
    script = 'cd /var/task && exec "$@"'
    command = ["chroot", f"--userspec={UID}:{GID}", str(root), "/bin/sh", "-c", script, "sh", *inside]
    environment = {
        "IMPORT_PACK": "/var/task/imports.pack",
        "START_LIST": "/var/task/start.list",
        "ORT_DISABLE_TELEMETRY": "1",
    }
    with Emulator(environment, command=command) as emulator:
        event = workload.embed_event([workload.FIRST_TEXT])
        workload.check_response(event, emulator.invoke(event))
        event = workload.rerank_event(workload.FIRST_TEXT, workload.FIRST_DOCUMENTS)
        workload.check_response(event, emulator.invoke(event))


def _resident(backing: Path) -> tuple[int, int]:
    """Bytes of the file's resident pages, and of the chunks that have one."""
    flags = pagecache.residency(backing)
    per_chunk = CHUNK // mmap.PAGESIZE
    chunks = sum(any(flags[start : start + per_chunk]) for start in range(0, len(flags), per_chunk))
    return sum(flags) * mmap.PAGESIZE, chunks * CHUNK


def _run(*command: str) -> str:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise ChunkError(f"{command[0]}: {result.stderr.strip()[-500:]}")
    return result.stdout
