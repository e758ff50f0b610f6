"""DuckDB, for Parquet: its only user, and imported by jobs with Parquet alone.

DuckDB rather than pyarrow: 67 MB installed instead of 166, and 0.17 s to import instead of 0.07, which only a
job with Parquet pays. Measured on x86-64 with DuckDB 2.0.1 and pyarrow 26.0.1. It reads files of others
through fsspec, which is small.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

try:
    import duckdb
    from fsspec.spec import AbstractBufferedFile, AbstractFileSystem
except ImportError as error:
    from lambda_app.errors import ConfigurationError

    raise ConfigurationError(
        "Parquet needs DuckDB and fsspec, which are not in this image: build it with EXTRAS=bulk, or install "
        "requirements/bulk.txt"
    ) from error

from lambda_app.bulk import s3
from lambda_app.errors import LambdaAppError

# DuckDB's share of the memory that there is, which Lambda shows as the function's own: a group of rows has to
# fit with all that is read of it.
MEMORY_SHARE = 0.4
MIN_MEMORY_MB = 256
# Of an object so many blocks are kept: two columns are read beside each other.
BLOCKS = 8
NAME = "object"
URL = f"{NAME}://rows.parquet"

# Environments without DuckDB know no types of it.
Database = Any
DatabaseError: type[Exception] = duckdb.Error
OutOfMemoryError: type[Exception] = duckdb.OutOfMemoryException


def connect(directory: str) -> Database:
    """Opens a database in memory, which spills nowhere else and loads nothing from the network."""
    pages: int = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory = max(MIN_MEMORY_MB, int(pages * MEMORY_SHARE) >> 20)
    database = duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": f"{memory}MB",
            "temp_directory": directory,
            "home_directory": directory,
            "autoinstall_known_extensions": False,
            "enable_external_file_cache": False,
        }
    )
    # Page by page instead of all columns of a group of rows at once, which takes more memory.
    database.execute("SET disable_parquet_prefetching = true")
    return database


class ObjectFiles(AbstractFileSystem):  # type: ignore[misc]
    """One object of S3 as the file :data:`URL`, which is read in ranges.

    ``error`` is why it could not be read, which DuckDB's own error hides.
    """

    protocol = NAME
    cachable = False

    def __init__(self, stored: s3.StoredObject) -> None:
        super().__init__()
        self.stored = stored
        self.error: LambdaAppError | None = None

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Returns what DuckDB asks for: the size."""
        return {"name": path, "size": self.stored.size, "type": "file"}

    def modified(self, path: str) -> datetime:
        """Returns some time: an object that has changed is refused when it is read."""
        return datetime.fromtimestamp(0, UTC)

    def glob(self, path: str, **options: Any) -> list[str]:
        """Returns the one file."""
        return [path]

    def _open(self, path: str, mode: str = "rb", **options: Any) -> ObjectFile:
        return ObjectFile(
            self,
            path,
            mode,
            block_size=s3.BLOCK_BYTES,
            cache_type="blockcache",
            cache_options={"maxblocks": BLOCKS},
            size=self.stored.size,
        )


class ObjectFile(AbstractBufferedFile):  # type: ignore[misc]
    """The open file of :class:`ObjectFiles`."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        try:
            return s3.read_range(self.fs.stored, start, end)
        except LambdaAppError as error:
            self.fs.error = error
            raise


def quoted(name: str) -> str:
    """Returns a column's name as SQL writes it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
