"""An image's file system whose 512 KiB chunks arrive when they are first read, as Lambda's do.

A FUSE file over the image delays the first read of each chunk (``lazy_disk.c``), a loop device with direct
I/O stands on that file, and the file system is mounted from it with nothing in the page cache. Runs inside
:func:`benchmarks.harness.namespaces.run_contained`, which undoes everything whatever happens.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.loop_device import CONTROL, LoopDeviceError, attached
from benchmarks.harness.paths import BENCHMARKS, cache
from benchmarks.harness.stamps import digest, make_once

# https://www.usenix.org/conference/atc23/presentation/brooker (On-demand Container Loading in AWS Lambda)
CHUNK = 512 << 10
READ_AHEAD = 128 << 10
SOURCE = BENCHMARKS / "harness" / "lazy_disk.c"
START_SECONDS = 10.0
# Programs that are run, and what has them on Debian.
PACKAGES = {
    "cc": "gcc libc6-dev", "pkg-config": "pkg-config", "mkfs.ext4": "e2fsprogs", "mount": "mount",
    "nsenter": "util-linux", "tar": "tar",
}  # fmt: skip


class LazyDiskError(RuntimeError):
    """The file system could not be served or mounted."""


class TouchedChunk(NamedTuple):
    """A chunk that was read: when it was first read, where in the image, and how much of it since."""

    chunk: int
    microseconds: int
    offset: int
    bytes_read: int


@dataclass(frozen=True, slots=True)
class LazyDisk:
    """A mounted image: its ``root``, and the list of what was read of it."""

    root: Path
    listing: Path

    def touched(self) -> list[TouchedChunk]:
        """Returns the chunks that were read, in the order of their first read."""
        with self.listing.open("rb", buffering=0) as stream:
            data = b""
            while part := stream.read(1 << 20):
                data += part
        return parse_touched(data.decode("ascii"))


def parse_touched(text: str) -> list[TouchedChunk]:
    """Returns the lines of ``touched`` as records."""
    return [TouchedChunk(*map(int, line.split())) for line in text.splitlines()]


def missing(
    exists: Callable[[Path], bool] = Path.exists,
    which: Callable[[str], str | None] = shutil.which,
    user: int | None = None,
    fuse_headers: Callable[[], bool] | None = None,
) -> list[str]:
    """Returns what this machine lacks, each with how to get it. The arguments are for tests."""
    lacking = []
    if (os.geteuid() if user is None else user) != 0:
        lacking.append("root: run it with sudo, or in a container started with --privileged")
    if not exists(Path("/dev/fuse")):
        lacking.append("/dev/fuse: modprobe fuse, or give the container --device /dev/fuse")
    if not exists(CONTROL):
        lacking.append(f"loop devices ({CONTROL}): modprobe loop, or run the container with --privileged")
    for program, package in PACKAGES.items():
        if which(program) is None:
            lacking.append(f"{program}: apt-get install {package}")
    if which("pkg-config") and not (fuse_headers or _has_fuse_headers)():
        lacking.append("FUSE's headers: apt-get install libfuse3-dev fuse3")
    return lacking


def _has_fuse_headers() -> bool:
    return subprocess.run(["pkg-config", "--exists", "fuse3"], check=False).returncode == 0


def server() -> Path:
    """Returns the compiled FUSE server, compiled if its source has changed.

    Raises:
        LazyDiskError: it does not compile.
    """
    directory = cache() / "lazy" / "disk"
    make_once(directory, digest("cc", files=[SOURCE]), _compile)
    return directory / "lazy_disk"


def _compile(directory: Path) -> None:
    flags = run("pkg-config", "--cflags", "--libs", "fuse3").split()
    run("cc", "-O2", "-Wall", "-o", str(directory / "lazy_disk"), str(SOURCE), *flags, "-pthread")


@contextmanager
def mounted(
    backing: Path, scratch: Path, *, delay: float, at_once: int, read_ahead: int = READ_AHEAD
) -> Iterator[LazyDisk]:
    """Mounts an ext4 image with nothing of it in memory.

    Args:
        backing: the file with the file system.
        scratch: an empty directory for the mount points.
        delay: the seconds that the first read of a chunk takes.
        at_once: how many chunks are fetched at the same time.
        read_ahead: the loop device's, in bytes.

    Raises:
        LazyDiskError: with what the failing command said.
    """
    disk, root = scratch / "disk", scratch / "root"
    disk.mkdir(exist_ok=True)
    root.mkdir(exist_ok=True)
    with ExitStack() as stack:
        command = [str(server()), str(backing), str(disk), str(round(delay * 1e6)), str(at_once)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE)
        stack.enter_context(process)
        stack.callback(process.terminate)
        _wait_for(process, disk / "image")
        stack.callback(_unmount, disk)
        try:
            # The loop device lives as long as what is mounted from it, without being held open.
            with attached(disk / "image", read_ahead) as device:
                run("mount", "-t", "ext4", "-o", "ro", str(device), str(root))
        except LoopDeviceError as error:
            raise LazyDiskError(str(error)) from None
        stack.callback(_unmount, root)
        for name in ("proc", "dev"):
            run("mount", "--bind", f"/{name}", str(root / name))
            stack.callback(_unmount, root / name)
        run("mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", str(root / "tmp"))
        stack.callback(_unmount, root / "tmp")
        yield LazyDisk(root, disk / "touched")


def _wait_for(process: subprocess.Popen[bytes], path: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while not path.exists():
        if process.poll() is not None or time.monotonic() > until:
            process.kill()
            said = process.communicate()[1].decode(errors="replace").strip()
            raise LazyDiskError(f"the FUSE server did not start: {said[-500:]}")
        time.sleep(0.005)


def _unmount(place: Path) -> None:
    subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


def run(*command: str) -> str:
    """Returns what a command wrote.

    Raises:
        LazyDiskError: it failed; with the end of its errors.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise LazyDiskError(f"{command[0]}: {result.stderr.strip()[-500:]}")
    return result.stdout
