"""Headers of safetensors files, read without their tensors.

The format: 8 bytes little-endian length of the header, the header as JSON, then the tensors
(https://github.com/huggingface/safetensors#format).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from builder.errors import SourceError


def check_safetensors(path: Path) -> None:
    """Checks that a safetensors file is as long as its header says.

    Raises:
        SourceError: it is cut off or not a safetensors file.
    """
    size = path.stat().st_size
    try:
        header = safetensors_header(path)
        end = max(
            (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0
        )
        length = struct.unpack("<Q", _head(path, 8))[0]
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError, MemoryError) as error:
        raise SourceError(
            f"{path.name} is not a safetensors file, or cut off ({size} bytes)", code="source_damaged"
        ) from error
    expected = 8 + length + end
    if size != expected:
        raise SourceError(
            f"{path.name} has {size} bytes, its header says {expected}: it is cut off", code="source_damaged"
        )


def safetensors_header(path: Path) -> dict[str, dict[str, list[int]]]:
    """Returns the header of a safetensors file: name to dtype, shape and offsets."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is not an object")
    return header


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)
