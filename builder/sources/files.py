"""Which of a model's files the build reads, and the record of those that are here.

Only these are taken: config, safetensors, tokenizer, and sentence-transformers' module files.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.config.source_spec import Source, describe_source
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
    "added_tokens.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    MODULES,
)
_CURES = {TOKENIZER: ": write one into a copy with transformers (AutoTokenizer's save_pretrained)"}
_OLD_LAYOUT = "0_Transformer"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack")


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """``files`` maps a path below ``directory`` to its sha256; ``bytes`` is their sum."""

    directory: Path
    source: Source
    files: Mapping[str, str]
    bytes: int

    def record(self) -> dict[str, object]:
        """Returns the manifest's record of the source."""
        return {**describe_source(self.source), "files": dict(self.files)}

    def json(self, name: str) -> dict[str, object] | None:
        """A JSON object among the files, or None if the file is not there.

        Raises:
            SourceError: it is not a JSON object.
        """
        content = read_json(self.directory, name)
        if content is not None and not isinstance(content, dict):
            raise SourceError(
                f"{name} of {describe_source(self.source)['name']} is not a JSON object",
                code="source_damaged",
            )
        return content


def readable_files(modules: object) -> set[str]:
    """Returns the files, shards aside, that the build reads of a model with these modules."""
    wanted = {*_WANTED, WEIGHTS, WEIGHTS_INDEX}
    if isinstance(modules, list):
        for module in (module for module in modules if isinstance(module, dict)):
            path = module.get("path")
            if isinstance(path, str) and path:
                wanted.add(f"{path}/{CONFIG}")
                if str(module.get("type")).endswith(".Dense"):
                    wanted.add(f"{path}/{WEIGHTS}")
    return wanted


def wanted_files(listing: Collection[str], modules: object, index: object = None) -> list[str]:
    """Returns those of a model's files that the build reads, sorted.

    ``index`` is the content of :data:`WEIGHTS_INDEX`, which counts where there is no :data:`WEIGHTS`.

    Raises:
        SourceError: the index names a file that is not there, or not the model's own.
        ModelMismatchError: the index names pickled weights.
    """
    wanted = readable_files(modules)
    if WEIGHTS in listing:
        wanted.discard(WEIGHTS_INDEX)
    elif index is not None:
        wanted.update(_shards(index, listing))
    return sorted(wanted.intersection(listing))


def _shards(index: object, listing: Collection[str]) -> set[str]:
    """The files of weights that an index names: these are read, whatever else lies beside them."""
    places = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise SourceError(f"{WEIGHTS_INDEX} has no weight_map from tensors to files", code="source_damaged")
    names = set(places.values())
    for name in sorted(names):
        if name.endswith(_PICKLED):
            raise ModelMismatchError(
                f"{WEIGHTS_INDEX} names pickled weights, which can run code when they are read: convert them "
                "to safetensors (transformers' save_pretrained does)",
                code="pickled_weights",
            )
        if "/" in name or "\\" in name or not name.endswith(".safetensors"):
            raise SourceError(
                f"{WEIGHTS_INDEX} names a file that is not a .safetensors file beside it: take a model whose "
                "weights are in its own directory",
                code="source_damaged",
            )
        if name not in listing:
            raise SourceError(f"{WEIGHTS_INDEX} names {name}, which is not there", code="file_not_found")
    return names


def check_place(directory: Path, names: Iterable[str]) -> None:
    """Checks that what is there of some files are files of the model's own directory.

    The hub's cache keeps files in ``blobs``, with links to them in ``snapshots``: these are its own, too.

    Raises:
        SourceError: one is a link to elsewhere, or a directory, FIFO or device.
    """
    root = directory.resolve()
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    for name in names:
        path = directory / name
        if not os.path.lexists(path):
            continue
        if not any(path.resolve().is_relative_to(own) for own in roots):
            raise SourceError(
                f"{name} of the model in {directory.name} is a link out of its directory: "
                "copy the file there",
                code="source_damaged",
            )
        if not path.is_file():
            raise SourceError(
                f"{name} of the model in {directory.name} is not a regular file", code="source_damaged"
            )


def require_files(names: Iterable[str], listing: Collection[str], model: str) -> None:
    """Checks that config, tokenizer and weights are among the files.

    Raises:
        SourceError: one is missing.
        ModelMismatchError: the weights are pickled.
    """
    present = set(names)
    for needed in (CONFIG, TOKENIZER):
        if needed not in present and f"{_OLD_LAYOUT}/{CONFIG}" in listing:
            raise SourceError(
                f"{model} has its transformer in {_OLD_LAYOUT}/, an old layout of sentence-transformers: "
                "save a copy with its save_pretrained, or move the files of that directory up and write "
                f"an empty path for it into {MODULES}",
                code="unsupported_layout",
            )
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


def read_json(directory: Path, name: str) -> object:
    """Returns the content of a JSON file, None where the file is missing.

    Raises:
        SourceError: it is not JSON.
    """
    path = directory / name
    try:
        if path.exists() and not path.is_file():  # opening a FIFO would wait for ever
            raise SourceError(f"{name} of the model in {directory.name} is not a file", code="source_damaged")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{name} of the model in {directory.name} is not JSON: {error}", code="source_damaged"
        ) from error
