"""A child process in mount and process namespaces of its own: what it mounts and starts ends with it.

However the child or its parent ends, ``kill -9`` included, the kernel ends every process of the child's
process namespace, then its mount namespace, and with the mounts the loop devices below them. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
PR_SET_PDEATHSIG = 1
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
INTERRUPTED = 130


class NamespaceError(RuntimeError):
    """The namespaces could not be made."""


def run_contained(function: Callable[[], int]) -> int:
    """Returns what ``function`` returns, run in a child with namespaces of its own.

    Signals that end this process are passed on to the child, where they raise ``KeyboardInterrupt``. This
    process starts no other child afterwards.

    Raises:
        NamespaceError: this user may not make namespaces.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    _unshare(CLONE_NEWPID)
    child = os.fork()
    if child == 0:
        os._exit(_child(function))
    for number in SIGNALS:
        signal.signal(number, lambda *_: os.kill(child, signal.SIGTERM))
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status  # as a shell reports a signal


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise NamespaceError(f"cannot make namespaces: {os.strerror(ctypes.get_errno())}")


def _child(function: Callable[[], int]) -> int:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    status = 1
    try:
        _unshare(CLONE_NEWNS)
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        # Tools look for processes in /proc, by the numbers of this namespace.
        subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
        status = function()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def _interrupt(*_: object) -> None:
    # A terminal signals parent and child: the second signal must not interrupt the cleaning up.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt
