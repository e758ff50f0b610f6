"""sentence-transformers' ``modules.json``: which steps make a model's vector, where the graph can hold them.

Transformer, Pooling, any number of Dense, Normalize, in this order. Anything else is refused here, before
PyTorch is imported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from builder.errors import ModelMismatchError, SourceError
from builder.sources.files import CONFIG, MODULES, WEIGHTS, read_json
from builder.sources.safetensors import safetensors_header

# The last part of the activation's name in a Dense module's config, and what is said of it here.
ACTIVATIONS = {"Identity": "identity", "Tanh": "tanh", "ReLU": "relu", "Sigmoid": "sigmoid", "GELU": "gelu"}
_LIBRARY = "sentence_transformers."
_POOLING_NAMES = {
    "cls_token": "cls",
    "mean_tokens": "mean",
    "lasttoken": "last",
    "max_tokens": "max",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weightedmean",
}


@dataclass(frozen=True, slots=True)
class Dense:
    """A linear layer behind the pooling; ``path`` is its directory. Activations are :data:`ACTIVATIONS`."""

    path: str
    in_features: int
    out_features: int
    activation: str


@dataclass(frozen=True, slots=True)
class Modules:
    """The steps that a model's module files declare.

    ``pooling`` joins the names of several by ``+``. ``pools_prompt`` says whether the tokens of a prompt take
    part in it.
    """

    pooling: str
    pooling_file: str
    pools_prompt: bool
    dense: tuple[Dense, ...]
    normalizes: bool


def read_modules(directory: Path, name: str) -> Modules | None:
    """What the model called ``name`` declares, or None if it has no ``modules.json``.

    Raises:
        ModelMismatchError: it has a module that this build does not carry over.
        SourceError: a file is damaged.
    """
    content = read_json(directory, MODULES)
    if content is None:
        return None
    if not isinstance(content, list) or not all(isinstance(module, dict) for module in content):
        raise SourceError(f"{MODULES} of {name} is not a list of modules", code="source_damaged")
    steps = [(_kind(module, name), _path(module, name)) for module in content]
    kinds = [kind for kind, _ in steps]
    _check_order(kinds, name)
    pooling = f"{dict(steps)['Pooling']}/{CONFIG}"
    declared = _object(directory, pooling, name)
    dense = tuple(_dense(directory, path, name) for kind, path in steps if kind == "Dense")
    return Modules(
        pooling=_pooling(declared),
        pooling_file=pooling,
        pools_prompt=declared.get("include_prompt", True) is not False,
        dense=dense,
        normalizes="Normalize" in kinds,
    )


def _kind(module: Mapping[str, Any], name: str) -> str:
    kind = str(module.get("type", ""))
    if not kind.startswith(_LIBRARY):
        raise ModelMismatchError(
            f"{name} has the module {kind!r} of its own code ({MODULES}), which is never run here: "
            "take a model that is made of sentence-transformers' modules",
            code="remote_code",
        )
    return kind.rsplit(".", 1)[-1]


def _path(module: Mapping[str, Any], name: str) -> str:
    path = str(module.get("path", ""))
    if path.startswith("/") or ".." in path.split("/"):
        raise SourceError(f"{MODULES} of {name} names a place outside the model", code="source_damaged")
    return path


def _check_order(kinds: list[str], name: str) -> None:
    other = next(
        (kind for kind in kinds if kind not in ("Transformer", "Pooling", "Dense", "Normalize")), None
    )
    if other is not None:
        raise ModelMismatchError(
            f"{name} has a {other} module, which this build does not carry over: take a model of "
            "Transformer, Pooling, Dense and Normalize modules",
            code="unsupported_model",
        )
    plain = ["Transformer", "Pooling", *["Dense"] * kinds.count("Dense"), "Normalize"]
    if kinds not in (plain, plain[:-1]):
        raise ModelMismatchError(
            f"{name} has its modules in the order {', '.join(kinds) or '(none)'}: take a model with "
            "Transformer, Pooling, then any Dense, then Normalize",
            code="unsupported_model",
        )


def _pooling(content: Mapping[str, Any]) -> str:
    mode = content.get("pooling_mode")
    if isinstance(mode, str):
        return {"lasttoken": "last"}.get(mode, mode)
    active = [
        key.removeprefix("pooling_mode_")
        for key, on in content.items()
        if key.startswith("pooling_mode_") and on
    ]
    return "+".join(_POOLING_NAMES.get(key, key) for key in sorted(active)) or "nothing"


def _dense(directory: Path, path: str, name: str) -> Dense:
    content = _object(directory, f"{path}/{CONFIG}", name)
    activation = str(content.get("activation_function", "torch.nn.modules.activation.Tanh"))
    kind = activation.rsplit(".", 1)[-1]
    if kind not in ACTIVATIONS or not activation.startswith("torch.nn.modules."):
        raise ModelMismatchError(
            f"{name} has the activation {activation!r} ({path}/{CONFIG}), which this build does not carry "
            f"over: take a model with one of {', '.join(ACTIVATIONS)}",
            code="unsupported_model",
        )
    weights = directory / path / WEIGHTS
    if not weights.is_file():
        raise ModelMismatchError(
            f"{name} has no {path}/{WEIGHTS}, and pickled weights can run code when they are read: convert "
            "them to safetensors (save_pretrained of sentence-transformers does)",
            code="pickled_weights",
        )
    try:
        shape = tuple(safetensors_header(weights)["linear.weight"]["shape"])
        sizes = (int(content["out_features"]), int(content["in_features"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"{path} of {name} is not a Dense module: {error}", code="source_damaged"
        ) from error
    if shape != sizes:
        raise SourceError(
            f"{path}/{WEIGHTS} of {name} is a layer of {shape}, its {CONFIG} says {sizes}",
            code="source_damaged",
        )
    return Dense(path, sizes[1], sizes[0], ACTIVATIONS[kind])


def _object(directory: Path, file: str, name: str) -> dict[str, Any]:
    content = read_json(directory, file)
    if content is None:
        raise SourceError(f"{name} has no {file}, which its {MODULES} names", code="file_not_found")
    if not isinstance(content, dict):
        raise SourceError(f"{file} of {name} is not a JSON object", code="source_damaged")
    return content
