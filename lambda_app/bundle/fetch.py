"""A bundle fetched in init, for functions whose image holds none: the slow way, imported only when asked for.

``TMPDIR/lambda-embed-rerank/`` holds ``<checksum>/``, a bundle of which every byte was verified, or
``<checksum>.part/``, in which a file has its own name once its sha256 is known to be right. What a start that
was ended half-way left there is taken up by the next one in the same environment; whatever belongs to another
bundle is removed.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from lambda_app.bundle import MANIFEST, Bundle, BundleFile, read_manifest
from lambda_app.errors import BundleError, FetchError

if TYPE_CHECKING:
    from lambda_app.coldstart.logs import JsonLog

# What the manifest may name: a file in a model's own directory.
PATH = re.compile(r"[a-z]+/\w[\w.-]*", re.ASCII)
UNVERIFIED = ".download"
# Bytes of one of the ranges that a file is fetched in.
RANGE_BYTES = 8 << 20


class Source(Protocol):
    """Where a bundle's files are. Paths are the manifest's."""

    def read(self, path: str) -> bytes:
        """A small file.

        Raises:
            FetchError: it is not there, may not be read, or did not come whole.
        """
        ...

    def download(self, path: str, target: Path) -> Callable[[], object]:
        """Begins to fetch a file in parallel ranges; calling what is returned waits for its end.

        Raises:
            FetchError: when that is called, as for ``read``, or when the disk is full.
        """
        ...

    def close(self) -> None:
        """Gives up what is still being fetched."""
        ...


def fetch_bundle(url: str, temporary: Path, log: JsonLog) -> Path:
    """Directory of the bundle at ``url``, every file of which has the sha256 that the manifest says.

    Raises:
        FetchError: with a code of its own for what is not there, not allowed, not whole, not what the
            manifest says, or does not fit.
        ConfigurationError: the image has no client for such an URL.
    """
    base = _private(temporary / "lambda-embed-rerank")
    with _only_one(base):
        source = _open(url)
        try:
            return _fetch(source, url, base, log)
        except OSError as error:
            raise disk_error(error, base) from error
        finally:
            source.close()


def _fetch(source: Source, url: str, base: Path, log: JsonLog) -> Path:
    raw = source.read(MANIFEST)
    name = hashlib.sha256(raw).hexdigest()[:32]
    complete, part = base / name, base / f"{name}.part"
    _remove_others(base, {complete, part})
    if complete.exists():
        try:
            Bundle.open(complete)
        except BundleError:
            shutil.rmtree(complete)
        else:
            log.info("bundle_reused", url=url)
            return complete
    part.mkdir(exist_ok=True)
    (part / MANIFEST).write_bytes(raw)
    files = _files(part, url)
    wanted = _unverified(part, files)
    size = sum(file.bytes for file in wanted)
    _check_space(size, base)
    log.warning(
        "bundle_fetch",
        code="slow_start",
        message="the bundle is fetched in init, which is slow: build it into the image instead",
        url=url,
        bytes=size,
        reused_bytes=sum(file.bytes for file in files) - size,
    )
    started = time.monotonic()
    _download(source, part, wanted)
    # Only a whole bundle ever has its own name.
    part.rename(complete)
    log.info("bundle_fetched", bytes=size, seconds=round(time.monotonic() - started, 3))
    return complete


def _download(source: Source, part: Path, files: list[BundleFile]) -> None:
    """All files at once; each is hashed while those after it arrive."""
    pending = []
    for file in files:
        target = part / file.path
        target.parent.mkdir(exist_ok=True)
        unverified = target.with_name(target.name + UNVERIFIED)
        pending.append((file, unverified, source.download(file.path, unverified)))
    for file, unverified, finish in pending:
        finish()
        _verify(file, unverified)
        unverified.rename(part / file.path)


def _verify(file: BundleFile, path: Path) -> None:
    size = path.stat().st_size
    if size != file.bytes:
        raise FetchError(
            f"{file.path} was fetched with {size} bytes, the manifest says {file.bytes}: "
            "upload the bundle again",
            code="bundle_hash_mismatch",
        )
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != file.sha256:
        raise FetchError(
            f"{file.path} was fetched with sha256 {found[:12]}..., the manifest says {file.sha256[:12]}...: "
            "upload the bundle again",
            code="bundle_hash_mismatch",
        )


def _files(part: Path, url: str) -> list[BundleFile]:
    """The files that the manifest in ``part`` lists."""
    try:
        models = read_manifest(part)["models"].values()
        files = [BundleFile(**file) for model in models for file in model["files"]]
    except BundleError as error:
        raise FetchError(
            f"{url}/{MANIFEST}: {error.message.partition(MANIFEST)[2].strip(' :')}",
            code="bundle_hash_mismatch",
        ) from error
    except (TypeError, KeyError, AttributeError) as error:
        raise FetchError(
            f"{url}/{MANIFEST} lists no files: rebuild the bundle", code="bundle_hash_mismatch"
        ) from error
    for file in files:
        if not PATH.fullmatch(file.path):
            raise FetchError(
                f"{url}/{MANIFEST} lists a file outside of its models' directories",
                code="bundle_hash_mismatch",
            )
    return files


def _unverified(part: Path, files: list[BundleFile]) -> list[BundleFile]:
    """Files that are still to be fetched; removes from ``part`` what is neither verified nor listed."""
    keep = {part / MANIFEST} | {part / file.path for file in files}
    for path in part.rglob("*"):
        if path.is_file() and path not in keep:
            path.unlink()
    return [file for file in files if not _has(part / file.path, file.bytes)]


def _has(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _check_space(size: int, base: Path) -> None:
    free = shutil.disk_usage(base).free
    if size > free:
        raise _no_space(base, f"{size / 1e6:.0f} MB are to be fetched and {free / 1e6:.0f} MB are free")


def _no_space(base: Path, why: str) -> FetchError:
    return FetchError(
        f"no space for the bundle below {base.parent} ({why}): give the function more ephemeral storage",
        code="bundle_no_space",
    )


def disk_error(error: OSError, base: Path) -> FetchError:
    """What a failing disk means: full, or something else."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _no_space(base, "the disk is full")
    return FetchError(f"the bundle could not be written below {base.parent} ({error.strerror})")


def _remove_others(base: Path, keep: set[Path]) -> None:
    for path in base.iterdir():
        if path.is_dir() and path not in keep:
            shutil.rmtree(path)


def _private(base: Path) -> Path:
    """The directory, made if it is missing. What another user of the machine put there is not trusted."""
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = base.lstat()
    except OSError as error:
        raise disk_error(error, base) from error
    if base.is_symlink() or status.st_uid != os.getuid():
        raise FetchError(f"{base} belongs to somebody else: set TMPDIR to a directory of this user's own")
    return base


@contextmanager
def _only_one(base: Path) -> Iterator[None]:
    """Lets one process at a time fetch. Lambda runs one; a developer may start several."""
    with (base / "lock").open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _open(url: str) -> Source:
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        from lambda_app.bundle.fetch_file import FileSource

        return FileSource(Path(rest), RANGE_BYTES)
    from lambda_app.bundle.fetch_s3 import S3Source

    bucket, _, prefix = rest.partition("/")
    return S3Source(bucket, prefix, RANGE_BYTES)
