"""SHA-256 without OpenSSL, which is 6 MB of libraries for the few hundred kilobytes that init hashes."""

from __future__ import annotations

import sys
from pathlib import Path

if sys.version_info >= (3, 12):
    from _sha2 import sha256
else:
    from hashlib import sha256

__all__ = ["file_sha256", "sha256"]

# Larger files are hashed by OpenSSL, which is several times as fast once it is loaded.
SMALL_BYTES = 4 << 20


def file_sha256(path: Path, size: int) -> str:
    """Returns the SHA-256 of a file of ``size`` bytes, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        if size <= SMALL_BYTES:
            return str(sha256(stream.read()).hexdigest())
        from hashlib import file_digest

        return file_digest(stream, "sha256").hexdigest()
