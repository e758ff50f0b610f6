"""Strict reading of TOML: every key has a type, and an unknown key is an error."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from builder.errors import ConfigError


class Table:
    """One table of a TOML file. Remembers which keys were read; :meth:`finish` complains about the others.

    Every method raises :class:`ConfigError`, naming the file and the key.
    """

    def __init__(self, content: Mapping[str, Any], where: str) -> None:
        """Wraps parsed TOML; ``where`` names the file and table in messages."""
        self._content = content
        self._children: list[Table] = []
        self._read: set[str] = set()
        self.where = where

    @classmethod
    def read(cls, path: Path) -> Table:
        """Reads the root table of a file."""
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), path.name)
        except OSError as error:
            raise ConfigError(f"cannot read the config {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error

    def names(self) -> list[str]:
        """Returns all keys, where they are the user's own names; does not count as reading them."""
        return list(self._content)

    def table(self, key: str) -> Table | None:
        """Returns a table below this one, None where it is missing."""
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            self.refuse(key, value, "a table")
        child = Table(
            value, f"{self.where} [{key}]" if "[" not in self.where else f"{self.where[:-1]}.{key}]"
        )
        self._children.append(child)
        return child

    def text(self, key: str, default: str | None = None) -> str:
        """Returns a string."""
        value = self._take(key, default)
        if not isinstance(value, str):
            self.refuse(key, value, "a string")
        return value

    def choice(self, key: str, choices: Sequence[str], default: str | None = None) -> str:
        """Returns a string that is one of ``choices``."""
        value = self._take(key, default)
        if not isinstance(value, str) or value not in choices:
            self.refuse(key, value, f"one of {', '.join(choices)}")
        return value

    def integer(self, key: str, *, minimum: int, default: int | None = None) -> int:
        """Returns a whole number of at least ``minimum``."""
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
            self.refuse(key, value, f"a whole number of at least {minimum}")
        return value

    def integers(self, key: str, *, minimum: int) -> tuple[int, ...]:
        """Returns different whole numbers of at least ``minimum``, largest first; () without the key."""
        value = self._take(key, [])
        valid = isinstance(value, list) and all(type(one) is int and one >= minimum for one in value)
        if not valid or len(set(value)) != len(value):
            self.refuse(key, value, f"a list of different whole numbers of at least {minimum}")
        return tuple(sorted(value, reverse=True))

    def flag(self, key: str, *, default: bool) -> bool:
        """Returns true or false."""
        value = self._take(key, default)
        if not isinstance(value, bool):
            self.refuse(key, value, "true or false")
        return value

    def fraction(self, key: str, default: float | None = None) -> float:
        """Returns a number from 0 to 1."""
        value = self._take(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
            self.refuse(key, value, "a number from 0 to 1")
        return float(value)

    def refuse(self, key: str, value: object, expected: str) -> NoReturn:
        """Raises the error of a value that is not what the key takes; None where the key is missing."""
        found = _kind(value)
        near = difflib.get_close_matches(key, self._unread(), n=1) if value is None else []
        if near:
            found = f"missing ({near[0]!r} is nearly that name)"
        raise ConfigError(f"{self.where}: {key} is {found}, expected {expected}")

    def discard(self) -> None:
        """Counts every key as read, because the section does not apply to this build."""
        self._read.update(self._content)

    def finish(self) -> None:
        """Raises for keys that were not read, here and below."""
        unknown = self._unread()
        if unknown:
            known = sorted(self._read)
            near = difflib.get_close_matches(unknown[0], known, n=1)
            advice = f"the nearest key is {near[0]!r}" if near else f"the keys here are {', '.join(known)}"
            raise ConfigError(f"{self.where}: unknown key {unknown[0]!r}; {advice}")
        for child in self._children:
            child.finish()

    def _unread(self) -> list[str]:
        return sorted(set(self._content) - self._read)

    def _take(self, key: str, default: Any = None) -> Any:
        self._read.add(key)
        return self._content.get(key, default)


def _kind(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, dict):
        return "a table"
    return repr(value) if len(repr(value)) <= 60 else type(value).__name__
