"""Processes that a tool has started, found through ``/proc``; free ports for them.

Standard library only: the emulator runs where only the build's dependencies are installed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

LOOPBACK = "127.0.0.1"
# The image's program, as it ends a path.
BOOT = "/lambda_app/coldstart/boot.pyc"


def command_line(pid: int) -> list[str]:
    """Returns a process's arguments; empty when it has ended, also where nobody has waited for it yet."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def runs_function(arguments: list[str]) -> bool:
    """Returns whether these are the arguments of the Python that runs the function.

    It is awslambdaric's, or the image's own program, which runs awslambdaric.
    """
    python = bool(arguments) and Path(arguments[0]).name.startswith("python")
    return python and any(one == "awslambdaric" or one.endswith(BOOT) for one in arguments)


def session_members(session: int) -> list[int]:
    """Returns the live processes of a session other than its leader."""
    pids = (int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in pids if pid != session and in_session(pid, session)]


def in_session(pid: int, session: int) -> bool:
    """Returns whether a process lives and belongs to a session."""
    try:
        return os.getsid(pid) == session and command_line(pid) != []
    except OSError:
        return False


def end_session(leader: subprocess.Popen[bytes], seconds: float) -> None:
    """Ends a session's leader, then whatever else is in its session: process groups of their own, too.

    Args:
        leader: a process started with ``start_new_session``.
        seconds: how long the leader may take to end, and the others after it.
    """
    members = set(session_members(leader.pid))
    if leader.poll() is None:
        leader.terminate()
        try:
            leader.wait(seconds)
        except subprocess.TimeoutExpired:
            leader.kill()
            leader.wait()
    for pid in members | set(session_members(leader.pid)):
        if in_session(pid, leader.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
    until = time.monotonic() + seconds
    while session_members(leader.pid) and time.monotonic() < until:
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Returns different ports of the loopback interface that are free now."""
    # All are held at once, or the second could be the first again.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for holder in sockets:
            holder.bind((LOOPBACK, 0))
        return [holder.getsockname()[1] for holder in sockets]
    finally:
        for holder in sockets:
            holder.close()
