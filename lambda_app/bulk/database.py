"""DuckDB, for Parquet: its only user, and imported by jobs with Parquet alone.

DuckDB rather than pyarrow: 67 MB installed instead of 166, and 0.17 s to import instead of 0.07, which only a
job with Parquet pays. Measured on x86-64 with DuckDB 2.0.1 and pyarrow 26.0.1.
"""

from __future__ import annotations

from typing import Any

try:
    import duckdb
except ImportError as error:
    from lambda_app.errors import ConfigurationError

    raise ConfigurationError(
        "Parquet needs DuckDB, which is not in this image: build it with EXTRAS=bulk, or install "
        "requirements/bulk.txt"
    ) from error

MEMORY = "256MB"

# Environments without DuckDB know no types of it.
Database = Any
DatabaseError: type[Exception] = duckdb.Error


def connect(directory: str) -> Database:
    """Opens a database in memory, which spills nowhere else and loads nothing from the network."""
    return duckdb.connect(
        config={
            "threads": 1,
            "memory_limit": MEMORY,
            "temp_directory": directory,
            "home_directory": directory,
            "autoinstall_known_extensions": False,
        }
    )


def quoted(name: str) -> str:
    """Returns a column's name as SQL writes it."""
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
