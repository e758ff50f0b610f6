"""What awslambdaric imports for every contender, ours too.

It imports the handler named by BENCH_HANDLER, and writes a time stamp to BENCH_READY when its module is
imported, which is when init is done.
"""

import importlib
import os
import time

_module, _, _name = os.environ["BENCH_HANDLER"].rpartition(".")
handler = getattr(importlib.import_module(_module), _name)

with open(os.environ["BENCH_READY"], "w", encoding="ascii") as _stream:
    _stream.write(repr(time.time()))
