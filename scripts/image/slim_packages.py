"""Removes what the function never loads: ``python scripts/image/slim_packages.py``.

The environment's own Python runs it while the image is built. It prints what was removed, and fails where a
name or a pattern matches nothing: a dependency's new version has moved or dropped it. The image's own tests
run every event without any of it.
"""

from __future__ import annotations

import importlib.metadata
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Distributions that others depend on for what is not done here.
DISTRIBUTIONS = {
    "hf-xet": "downloads for huggingface-hub",
    "huggingface-hub": "tokenizers' downloads: the function opens files",
    "tqdm": "progress bars for huggingface-hub",
    "fsspec": "file systems for huggingface-hub",
    "filelock": "locks for huggingface-hub",
    "pyyaml": "model cards for huggingface-hub",
    "requests": "HTTP for huggingface-hub",
    "charset-normalizer": "guesses for requests",
    "certifi": "certificates for requests",
    "urllib3": "connections for requests",
    "protobuf": "reading ONNX files in Python: onnxruntime has its own reader",
    "flatbuffers": "onnxruntime's tools",
    "packaging": "version numbers for huggingface-hub and onnxruntime's tools",
}
# What an AWS client or DuckDB needs of these; an image that has one keeps them.
FOR_OTHERS = {"botocore": "urllib3", "duckdb": "fsspec"}
# Paths of distributions that stay.
PATTERNS = {
    "onnxruntime/capi/libonnxruntime.so*": "a second copy of the runtime, for programs in C",
    "onnxruntime/transformers": "fuses graphs: done in the build",
    "onnxruntime/quantization": "quantizes: done in the build",
    "onnxruntime/tools": "converts and inspects models",
    "onnxruntime/datasets": "sample models",
    "onnxruntime/backend": "ONNX's test interface",
    "numpy/random": "random numbers",
    "numpy/f2py": "wraps Fortran",
    "numpy/distutils": "builds extensions",
    "numpy/ma": "masked arrays",
    "numpy/polynomial": "polynomials",
    "numpy/fft": "Fourier transforms",
    "numpy/testing": "for tests",
    "numpy/_core/include": "headers",
    "numpy/_core/_*_tests.*.so": "for tests",
    "numpy/_core/_simd.*.so": "for tests of vector instructions",
    "numpy/_core/lib": "a library for extensions",
    "fastapi_offline/static/redoc*": "another viewer of the API's description",
    "fastapi_offline/static/favicon.png": "FastAPI's icon",
    "**/tests": "tests",
    "**/*.pyi": "types for checkers",
    "**/*.pxd": "declarations for Cython",
    "**/*.a": "static libraries",
}
# Patterns that match with some versions of Python only.
OPTIONAL = frozenset({"numpy/distutils"})  # not in numpy's wheels for Python 3.12 and later
# Of an AWS client's descriptions of services: what finds credentials, reads objects and writes vectors.
BOTOCORE_DATA = "botocore/data"
BOTOCORE_SERVICES = frozenset({"s3", "s3vectors", "sts", "sso", "sso-oidc"})


class UnmatchedError(Exception):
    """Names or patterns that match nothing in the environment."""


def slim(site_packages: Path) -> dict[str, int]:
    """Removes all of it from a site-packages directory.

    Returns:
        The bytes of each name or pattern.

    Raises:
        UnmatchedError: a name or a pattern matches nothing; nothing has been removed then.
    """
    installed = {
        (found.metadata["Name"] or "").lower().replace("_", "-"): found
        for found in importlib.metadata.distributions(path=[str(site_packages)])
    }
    kept = {needed for name, needed in FOR_OTHERS.items() if name in installed}
    if unmatched := _unmatched(site_packages, DISTRIBUTIONS.keys() - installed.keys()):
        raise UnmatchedError(
            f"nothing matches {', '.join(unmatched)}: correct the lists in {Path(__file__).name}"
        )
    removed = {}
    for name in DISTRIBUTIONS.keys() - kept:
        files = [Path(str(file.locate())) for file in installed[name].files or []]
        removed[name] = sum(remove(file) for file in files)
    for pattern in PATTERNS:
        removed[pattern] = sum(remove(path) for path in sorted(site_packages.glob(pattern)))
    services = site_packages / BOTOCORE_DATA
    if services.is_dir():
        unused = [one for one in services.iterdir() if one.is_dir() and one.name not in BOTOCORE_SERVICES]
        removed[BOTOCORE_DATA] = sum(remove(path) for path in unused)
    removed["*.so"] = sum(map(drop_symbols, sorted(site_packages.rglob("*.so*"))))
    for directory in sorted(site_packages.rglob("*"), reverse=True):
        if directory.is_dir() and not directory.is_symlink() and not any(directory.iterdir()):
            directory.rmdir()
    return {name: count for name, count in removed.items() if count}


def _unmatched(site_packages: Path, missing: Iterable[str]) -> list[str]:
    """Returns missing distributions and the patterns that match nothing, sorted."""
    required = PATTERNS.keys() - OPTIONAL
    patterns = [pattern for pattern in required if next(site_packages.glob(pattern), None) is None]
    services = site_packages / BOTOCORE_DATA
    if services.is_dir():
        missing = [
            *missing,
            *(f"{BOTOCORE_DATA}/{one}" for one in BOTOCORE_SERVICES if not (services / one).is_dir()),
        ]
    return sorted([*missing, *patterns])


def remove(path: Path) -> int:
    """Removes a file, or a directory and everything in it; returns the bytes of its files."""
    if path.is_symlink() or path.is_file():
        size = path.lstat().st_size
        path.unlink()
        return size
    return sum(remove(child) for child in children(path))


def drop_symbols(library: Path) -> int:
    """Cuts off a shared library what lies behind all that is loaded; returns the bytes.

    Those are symbols for debuggers and linkers, and the table that says where they are. Other files stay.
    """
    with library.open("r+b") as stream:
        header = stream.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01":  # 64 bits, little-endian
            return 0
        table: int = struct.unpack_from("<Q", header, 32)[0]
        entry, count = struct.unpack_from("<HH", header, 54)
        end: int = table + entry * count
        for index in range(count):
            stream.seek(table + entry * index)
            _, _, offset, _, _, size = struct.unpack("<IIQQQQ", stream.read(40))
            end = max(end, offset + size)
        whole = stream.seek(0, 2)
        if end >= whole:
            return 0
        stream.truncate(end)
        # No section headers: their place, their number, and which of them names the others.
        stream.seek(40)
        stream.write(bytes(8))
        stream.seek(60)
        stream.write(bytes(4))
        return whole - end


def children(path: Path) -> Iterator[Path]:
    """Returns a directory's entries; nothing where an earlier pattern removed it."""
    return iter(sorted(path.iterdir()) if path.is_dir() else ())


def main() -> int:
    """Slims the environment of the running Python."""
    if sys.prefix == sys.base_prefix:
        print("this is not a virtual environment: nothing removed", file=sys.stderr)
        return 2
    try:
        removed = slim(Path(sysconfig.get_path("purelib")))
    except UnmatchedError as error:
        print(error, file=sys.stderr)
        return 1
    reasons = {
        **DISTRIBUTIONS,
        **PATTERNS,
        BOTOCORE_DATA: "other services' descriptions",
        "*.so": "symbols for debuggers and linkers",
    }
    for name, size in sorted(removed.items(), key=lambda item: -item[1]):
        print(f"removed {size:>11,} bytes  {name}  ({reasons[name]})")
    print(f"removed {sum(removed.values()):>11,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
