"""SnapStart: what happens just before a snapshot is taken, and just after one is resumed.

Lambda resumes one snapshot many times, so nothing in it may be unique to a process. The function keeps no
socket, no temporary file and no request id between invocations; the one thing left is the state of Python's
random module, which some library may use.
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
"""

from __future__ import annotations

import gc
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lambda_app.coldstart.clock import PhaseClock
    from lambda_app.coldstart.logs import JsonLog


def register_hooks(clock: PhaseClock, log: JsonLog) -> None:
    """Registers both hooks with the runtime interface client, which runs them when Lambda says so."""
    from snapshot_restore_py import register_after_restore, register_before_snapshot

    register_before_snapshot(before_snapshot)
    register_after_restore(after_restore, clock, log)


def before_snapshot() -> None:
    """Leaves no garbage in the snapshot, and keeps the collector off its pages once it is resumed."""
    gc.collect()
    gc.freeze()


def after_restore(clock: PhaseClock, log: JsonLog) -> None:
    """Gives this copy its own randomness, and says so in the log."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed()
    log.info("restored", phases_ms=clock.milliseconds())
