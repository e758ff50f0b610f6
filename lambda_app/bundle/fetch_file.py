"""Bundles in a directory that is slower to read than /tmp, such as a network mount: ``file:///mnt/models``."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lambda_app.errors import FetchError

THREADS = 8
PIECE = 1 << 20


class FileSource:
    """Copies files in ranges, several at a time.

    One reader alone gets a fraction of a network mount's throughput.
    """

    def __init__(self, directory: Path, range_bytes: int) -> None:
        self._directory = directory
        self._range_bytes = range_bytes
        self._pool = ThreadPoolExecutor(THREADS)

    def read(self, path: str) -> bytes:
        """Returns the content of a small file."""
        try:
            return (self._directory / path).read_bytes()
        except OSError as error:
            raise self._error(path, error) from error

    def download(self, path: str, target: Path) -> Callable[[], object]:
        """Begins to copy a file; the result waits for its end and raises what went wrong."""
        source = self._directory / path
        try:
            size = source.stat().st_size
        except OSError as error:
            raise self._error(path, error) from error
        with target.open("wb") as stream:
            stream.truncate(size)
        starts = range(0, size, self._range_bytes)
        copies = [self._pool.submit(self._copy, path, target, start) for start in starts]
        return lambda: [copy.result() for copy in copies]

    def close(self) -> None:
        """Ends all copies."""
        self._pool.shutdown(cancel_futures=True)

    def _copy(self, path: str, target: Path, start: int) -> None:
        end = start + self._range_bytes
        with target.open("r+b") as written:
            try:
                descriptor = os.open(self._directory / path, os.O_RDONLY)
            except OSError as error:
                raise self._error(path, error) from error
            try:
                while start < end:
                    try:
                        piece = os.pread(descriptor, min(PIECE, end - start), start)
                    except OSError as error:
                        raise self._error(path, error) from error
                    if not piece:
                        return
                    start += os.pwrite(written.fileno(), piece, start)
            finally:
                os.close(descriptor)

    def _error(self, path: str, error: OSError) -> FetchError:
        where = self._directory / path
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return FetchError(
                f"MODEL_BUNDLE_URL: there is no {where}: copy a bundle there, or mount what holds it",
                code="bundle_not_found",
            )
        if isinstance(error, PermissionError):
            return FetchError(
                f"MODEL_BUNDLE_URL: {where} may not be read by user {os.getuid()}: make it readable for all",
                code="bundle_access_denied",
            )
        return FetchError(f"MODEL_BUNDLE_URL: {where} cannot be read ({error.strerror})")
