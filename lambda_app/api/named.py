"""Imports what a setting names as ``module:attribute``. Imported where such a setting is set."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from lambda_app.errors import ConfigurationError


def import_named(name: str, setting: str, form: str) -> Any:
    """Returns the attribute of a module.

    Raises:
        ConfigurationError: there is none; the message names the ``setting``, and the ``form`` it must have.
    """
    module, _, attribute = name.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:
        raise ConfigurationError(
            f"{setting} cannot be imported ({type(error).__name__}): it must be {form}", param=setting
        ) from error
