"""Reads bodies that come in chunks, without their length: RFC 9112, 7.1."""

from __future__ import annotations

from io import BufferedIOBase

# Longer than any size line or trailer of a client; more trailers than any has.
MAX_LINE_BYTES = 1_024
MAX_TRAILERS = 64


class TooLargeError(ValueError):
    """A body of more bytes than are read."""


def read_chunked(stream: BufferedIOBase, max_bytes: int) -> bytes:
    """Returns the body that a stream holds in chunks, and reads up to its end.

    Raises:
        TooLargeError: it has more than ``max_bytes``. ValueError: it is malformed, or ends early.
    """
    body = bytearray()
    while size := _size(_line(stream)):
        if len(body) + size > max_bytes:
            raise TooLargeError
        chunk = stream.read(size)
        if len(chunk) < size or _line(stream):
            raise ValueError("a chunk is not as long as it says")
        body += chunk
    for _ in range(MAX_TRAILERS):
        if not _line(stream):
            return bytes(body)
    raise ValueError("too many trailers")


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip(b" \t")
    if not digits or len(digits) > 8 or not set(digits) <= set(b"0123456789abcdefABCDEF"):
        raise ValueError("a chunk has no size")
    return int(digits, 16)


def _line(stream: BufferedIOBase) -> bytes:
    line = stream.readline(MAX_LINE_BYTES)
    if not line.endswith(b"\n"):
        raise ValueError("a line is too long, or the body ends early")
    return line.rstrip(b"\r\n")
