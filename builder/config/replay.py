"""What an earlier build chose, out of its manifest, for a build that is to choose the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from builder.config.schema import BuildConfig
from builder.errors import ConfigError
from lambda_app.bundle import MANIFEST, read_manifest
from lambda_app.errors import BundleError

_TASKS = ("embedding", "reranker")


def replay_choices(config: BuildConfig, directory: Path) -> BuildConfig:
    """Returns a build with the choices that the bundle in a directory recorded; its manifest is enough.

    Those of ``[mixed]`` in the config itself are kept.

    Raises:
        ConfigError: there is no manifest, or it is of a build in another scheme or for other machines.
    """
    try:
        build = read_manifest(directory).get("build")
    except BundleError as error:
        raise ConfigError(f"--replay: {error.message}") from error
    if not isinstance(build, dict):
        raise ConfigError(f"--replay: {directory / MANIFEST} does not say how it was built")
    for name, wanted in (("quantization", config.quantization), ("arch", config.arch)):
        if build.get(name) != wanted:
            raise ConfigError(
                f"--replay: {directory / MANIFEST} has {name} {build.get(name)!r}, this build {wanted!r}: "
                "name a bundle of the same kind"
            )
    assignments = _by_task(build.get("mixed"), directory) | dict(config.mixed.assignments)
    return replace(
        config,
        mixed=replace(config.mixed, assignments=assignments),
        activations=_by_task(build.get("activations"), directory),
    )


def _by_task(recorded: Any, directory: Path) -> dict[str, Mapping[str, Any]]:
    """What was recorded for each model, by product or tensor."""
    if recorded is None:
        return {}
    if not isinstance(recorded, dict) or not all(isinstance(one, dict) for one in recorded.values()):
        raise ConfigError(f"--replay: {directory / MANIFEST} does not have the form of a manifest")
    return {task: recorded[task] for task in _TASKS if task in recorded}
