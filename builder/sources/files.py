"""Which of a model's files the build reads, and the record of those that are here.

Only these are taken: config, safetensors, tokenizer, and sentence-transformers' module files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
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


def wanted_files(listing: Iterable[str], modules: object) -> list[str]:
    """Returns those of a model's files that the build reads, sorted."""
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


def read_json(directory: Path, name: str) -> object:
    """Returns the content of a JSON file, None where the file is missing.

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
