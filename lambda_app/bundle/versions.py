"""Compares the libraries that built a bundle with those that run it.

They can differ where the bundle is not in the image: on EFS, or fetched from S3. Another version may give
other vectors, or other token ids, than those that the build checked.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

RUNTIME_VERSION_DIFFERS = "runtime_version_differs"
# What computes answers from a bundle's files.
_LIBRARIES = ("onnxruntime", "tokenizers")


class VersionDifference(NamedTuple):
    """A library with two versions: the one that built the bundle, and the one that runs it."""

    library: str
    built_with: str
    running: str

    @property
    def message(self) -> str:
        """Says what differs and what to do."""
        return (
            f"the bundle was built with {self.library} {self.built_with} and runs on {self.running}: "
            "rebuild the bundle, or deploy the function that it was built for"
        )


def loaded_versions() -> dict[str, str]:
    """Returns the versions of those libraries that are imported already; costs nothing."""
    found = {name: getattr(sys.modules.get(name), "__version__", None) for name in _LIBRARIES}
    return {name: str(version) for name, version in found.items() if version is not None}


def installed_versions() -> dict[str, str]:
    """Returns the versions of those libraries that are installed; too slow for a cold start."""
    from importlib.metadata import PackageNotFoundError, version

    found = loaded_versions()
    for name in _LIBRARIES:
        if name not in found:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue
    return found


def version_differences(build: Mapping[str, Any], running: Mapping[str, str]) -> list[VersionDifference]:
    """Returns the libraries whose version in a manifest's ``build`` is not the one that runs.

    A library that only one of the two names is left out.
    """
    tools = build.get("tools") or {}
    return [
        VersionDifference(name, tools[name], running[name])
        for name in _LIBRARIES
        if name in tools and name in running and tools[name] != running[name]
    ]
