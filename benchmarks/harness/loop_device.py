"""Read-only loop devices with direct I/O and a stated read-ahead, freed after their last use."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = Path("/dev/loop-control")
LOOP_CTL_GET_FREE, LOOP_CONFIGURE = 0x4C82, 0x4C0A
LO_FLAGS_READ_ONLY, LO_FLAGS_AUTOCLEAR, LO_FLAGS_DIRECT_IO = 1, 4, 16
BLKRASET = 0x1262
SECTOR = 512
LOOP_MAJOR = 7
ATTEMPTS = 20


class LoopDeviceError(RuntimeError):
    """No loop device could be had."""


@contextmanager
def attached(path: Path, read_ahead: int) -> Iterator[Path]:
    """Gives a loop device over a file; it is to be mounted meanwhile.

    It is freed when this context has ended and nothing is mounted from it. If this process is killed, the
    kernel frees it too.

    Raises:
        LoopDeviceError: the kernel gave none.
    """
    backing = os.open(path, os.O_RDONLY)
    try:
        name, device = _configure(backing)
    finally:
        os.close(backing)
    try:
        # A device keeps the read-ahead of its last use.
        fcntl.ioctl(device, BLKRASET, read_ahead // SECTOR)
        yield name
    finally:
        os.close(device)


def _configure(backing: int) -> tuple[Path, int]:
    problem: OSError | None = None
    for _ in range(ATTEMPTS):
        try:
            with CONTROL.open("rb") as control:
                number = fcntl.ioctl(control, LOOP_CTL_GET_FREE)
            device = os.open(_node(number), os.O_RDONLY)
        except OSError as error:
            raise LoopDeviceError(f"no loop device: {error}") from None
        try:
            fcntl.ioctl(device, LOOP_CONFIGURE, _configuration(backing))
        except OSError as error:
            os.close(device)
            problem = error
            if error.errno == errno.EBUSY:  # another process was faster
                continue
            break
        return _node(number), device
    raise LoopDeviceError(f"no loop device with direct I/O (Linux 5.8 or newer): {problem}")


def _node(number: int) -> Path:
    path = Path(f"/dev/loop{number}")
    if not path.exists():  # containers have a /dev of their own
        os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(LOOP_MAJOR, number))
    return path


def _configuration(backing: int) -> bytes:
    """Returns the kernel's ``struct loop_config`` with its ``loop_info64``."""
    flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO
    info = struct.pack("=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, flags, b"lazy image", b"", b"", 0, 0)
    return struct.pack("=II", backing, SECTOR) + info + bytes(64)
