"""The bundle's directory: written beside its place, and put there whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from builder.errors import OutputError
from lambda_app.bundle import MANIFEST, SCHEMA_VERSION, BundleFile, ModelInfo, checksum

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_FULL_BYTES = 1 << 20
_ATTEMPTS = 5
# All that a bundle's directory holds. What has more is somebody's.
_ENTRIES = frozenset({MANIFEST, "embedding", "reranker"})


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A directory beside ``out`` that takes its place when the block ends well, and is removed if not.

    What stands at ``out`` stays until then. Remains of builds that were killed are removed.

    Raises:
        OutputError: ``out`` is something other than a bundle or cannot be written, or the disk is full.
    """
    out = out.absolute()
    check_place(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_remains(out)
        stage, lock = _make_stage(out)
    except OSError as error:
        raise OutputError(f"cannot write to {out.parent}: {error.strerror}") from error
    try:
        yield stage
        # Something may have appeared there meanwhile.
        check_place(out)
        _swap(stage, out)
        if not _is_ours(stage):
            raise OutputError(f"{out} was replaced by something during the build, which is now in {stage}")
    except Exception as error:
        # Libraries that write from C++ report a full disk in words of their own.
        if shutil.disk_usage(out.parent).free < _FULL_BYTES:
            raise OutputError(
                f"the disk is full: {out.parent} has no space for the build", code="disk_full"
            ) from error
        raise
    finally:
        if _is_ours(stage, lock):
            shutil.rmtree(stage, ignore_errors=True)
        os.close(lock)


def check_place(out: Path) -> None:
    """Checks that a bundle may be put there; called before the first long step, too.

    Raises:
        OutputError: ``out`` is a link, or something other than a bundle or an empty directory.
    """
    if out.is_symlink():
        raise OutputError(f"{out} is a link: name the directory itself with --out")
    if not _is_ours(out):
        foreign = (
            sorted(entry.name for entry in out.iterdir() if entry.name not in _ENTRIES)
            if out.is_dir()
            else []
        )
        why = f"holds {foreign[0]!r} and" if foreign else "exists and"
        raise OutputError(f"{out} {why} is not a bundle: name another with --out, or remove it")


def _is_ours(path: Path, lock: int | None = None) -> bool:
    """Whether nothing is there, an empty directory or a bundle; or the stage whose lock is given."""
    if not os.path.lexists(path):
        return True
    if path.is_symlink() or not path.is_dir():
        return False
    if lock is not None and os.path.samestat(os.fstat(lock), path.stat()):
        return True
    names = {entry.name for entry in path.iterdir()}
    return not names or (MANIFEST in names and names <= _ENTRIES)


def _make_stage(out: Path) -> tuple[Path, int]:
    """Makes a directory under a lock. A process id would not do: containers count their own."""
    for _ in range(_ATTEMPTS):
        stage = Path(tempfile.mkdtemp(prefix=f".{out.name}.building-", dir=out.parent))
        stage.chmod(0o755)
        lock = os.open(stage, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # some network file systems lock no directories
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another build may have taken it for a remainder before it was locked.
        if stage.is_dir():
            return stage, lock
        os.close(lock)
    raise OSError(errno.EBUSY, "another build removes its directories")


def _swap(stage: Path, out: Path) -> None:
    """Leaves the new bundle at ``out`` and the old one, if any, at ``stage``."""
    if not out.exists():
        stage.rename(out)
        return
    # Exchanges both in one step where kernel and file system can (not on overlayfs).
    libc = ctypes.CDLL(None, use_errno=True)
    exchange = getattr(libc, "renameat2", None)
    if exchange is not None:
        done = exchange(_AT_FDCWD, os.fsencode(stage), _AT_FDCWD, os.fsencode(out), _RENAME_EXCHANGE)
        if done == 0:
            return
    old = stage.with_name(f"{stage.name}-old")
    out.rename(old)
    try:
        stage.rename(out)
    except OSError:
        old.rename(out)
        raise
    old.rename(stage)


def _remove_remains(out: Path) -> None:
    """Removes what builds that were killed left: directories that nobody holds the lock of."""
    for path in out.parent.glob(f".{out.name}.building-*"):
        if path.is_symlink() or not path.is_dir():
            continue
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue  # it is built in, by whatever process
        finally:
            os.close(lock)


def list_files(root: Path, task: str) -> tuple[BundleFile, ...]:
    """Returns every file of a model in the bundle, sorted by path."""
    files = []
    for path in sorted((root / task).iterdir()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        files.append(BundleFile(f"{task}/{path.name}", path.stat().st_size, digest))
    return tuple(files)


def fingerprint(model: ModelInfo) -> str:
    """Returns the name of the vector space: models with the same one give the same answers on one CPU."""
    content = {
        "files": {file.path.split("/", 1)[1]: file.sha256 for file in model.files},
        "pooling": model.pooling,
        "prompts": dict(model.prompts),
        "quantization": [model.quantization.scheme, model.quantization.weight_bits],
        "activation": model.activation,
        "max_tokens": model.max_tokens,
    }
    return f"sha256:{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]}"


def write_manifest(
    root: Path, build: Mapping[str, Any], models: list[ModelInfo], rerank_kind: str | None
) -> None:
    """Writes ``manifest.json``."""
    manifest: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "build": dict(build),
        "models": {model.task: _entry(model) for model in models},
        "rerank_kind": rerank_kind,
    }
    manifest["checksum"] = checksum(manifest)
    temporary = root / f"{MANIFEST}.new"
    temporary.write_text(
        json.dumps(manifest, indent=1, ensure_ascii=True, allow_nan=False) + "\n", encoding="ascii"
    )
    temporary.replace(root / MANIFEST)


def _entry(model: ModelInfo) -> dict[str, Any]:
    entry = model._asdict()
    del entry["task"], entry["directory"]  # the key says the one, the place of the manifest the other
    entry["quantization"] = model.quantization._asdict()
    entry["files"] = [file._asdict() for file in model.files]
    return entry
