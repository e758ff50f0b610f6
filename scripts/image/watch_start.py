"""Runs the image's program and notes which files Python opens; ``record_start.py`` runs this.

``python -I -S -B watch_start.py ROOT OUT HANDLER`` appends a path to OUT for each file, one a line. Only
modules that are built into the interpreter are imported before the function's own.
"""

import posix
import sys

root, out = sys.argv[1:3]
descriptor = posix.open(out, posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC)


def note(event: str, arguments: "tuple[object, ...]") -> None:
    """Notes a file that is opened."""
    if event == "open" and isinstance(arguments[0], str) and "\n" not in arguments[0]:
        posix.write(descriptor, arguments[0].encode("utf-8", "surrogateescape") + b"\n")


# What the interpreter has read before this program.
for _module in list(sys.modules.values()):
    note("open", (getattr(getattr(_module, "__spec__", None), "cached", None),))
sys.addaudithook(note)
sys.path.insert(0, root)
sys.argv = [f"{root}/lambda_app/coldstart/boot.py", *sys.argv[3:]]

from lambda_app.coldstart import boot  # noqa: E402 (after the watching has begun)

boot.main()
