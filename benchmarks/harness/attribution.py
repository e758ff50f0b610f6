"""What the bytes of an image belong to: weights, packages, the interpreter, the system."""

from __future__ import annotations

import bisect
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

METADATA = "metadata"
SYSTEM = "system libraries"
# The first pattern that is found in a file's path says what the file is part of.
_GROUPS = (
    ("weights", re.compile(r"\.(safetensors|onnx_data)$|(^|/)(model|pytorch_model)\.(bin|onnx)$")),
    ("onnxruntime", re.compile(r"-packages/onnxruntime[^/]*/")),
    ("numpy", re.compile(r"-packages/numpy[^/]*/")),
    ("other packages", re.compile(r"/(site|dist)-packages/")),
    (
        "Python and its library",
        re.compile(r"(^|/)(lib/python3[^/]*/|(lib|bin)/(lib)?python3?[^/]*$)|(^|/)pyvenv\.cfg$"),
    ),
    ("code and pack", re.compile(r"^(var/task|function|app)/")),
)
GROUPS = (*(name for name, _ in _GROUPS), SYSTEM, METADATA)


class Extent(NamedTuple):
    """A file's bytes from ``start`` to before ``end`` of the file system."""

    start: int
    end: int
    path: str


def group_of(path: str) -> str:
    """Returns what a file is part of, by its path without the leading slash."""
    return next((name for name, pattern in _GROUPS if pattern.search(path)), SYSTEM)


def owner(extents: Sequence[Extent], offset: int) -> str | None:
    """Returns the file that has the byte at an offset; None where it is the file system's own."""
    index = bisect.bisect_right(extents, offset, key=lambda one: one.start) - 1
    return extents[index].path if index >= 0 and offset < extents[index].end else None


def chunks_by_group(extents: Sequence[Extent], first_offsets: Iterable[int]) -> dict[str, int]:
    """Returns how many chunks were fetched for each group: a chunk counts for what its first read was for.

    Args:
        extents: of the image's files, sorted.
        first_offsets: where in the image the first read of each chunk was.
    """
    owners = (owner(extents, offset) for offset in first_offsets)
    found = Counter(METADATA if path is None else group_of(path) for path in owners)
    return {name: found[name] for name in GROUPS if found[name]}
