"""The one rule for a setting that stands in several places: flag over environment over file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from builder.config.schema import Overrides
from builder.config.toml_table import Table
from builder.errors import ConfigError

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Setting:
    """A value, and the flag or variable that gave it; messages name both."""

    value: str
    origin: str


@dataclass(frozen=True, slots=True)
class Precedence:
    """Finds what overrides the config file. An empty flag or variable counts as absent."""

    overrides: Overrides
    environ: Mapping[str, str]

    def override(self, flag: str | None, variable: str) -> Setting | None:
        """Returns the flag's value, else the variable's; None where the file's own value stands."""
        given = None if flag is None else getattr(self.overrides, flag)
        if given:
            return Setting(given, f"--{flag}")
        value = self.environ.get(variable, "").strip()
        return Setting(value, variable) if value else None

    def choice(
        self, table: Table, key: str, choices: Sequence[str], default: str, *, flag: str | None, variable: str
    ) -> str:
        """Returns one of a few words; the file's own value is checked even where it is overridden.

        Raises:
            ConfigError: a value is none of them.
        """
        configured = table.choice(key, choices, default)
        found = self.override(flag, variable)
        if found is None:
            return configured
        if found.value not in choices:
            raise ConfigError(f"{found.origin} is {found.value!r}, expected one of {', '.join(choices)}")
        return found.value

    def switch(self, variable: str) -> bool | None:
        """Returns the variable as true or false, None where it is not set.

        Raises:
            ConfigError: it is neither.
        """
        found = self.override(None, variable)
        if found is None:
            return None
        word = found.value.lower()
        if word not in (*_TRUE, *_FALSE):
            raise ConfigError(f"{variable} is {word!r}, expected true or false")
        return word in _TRUE
