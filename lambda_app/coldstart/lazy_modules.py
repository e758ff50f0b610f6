"""Lazy stubs for modules that a dependency imports and we never use.

A cold start pays for every module that is imported, and a web framework imports its security schemes, its
models of the OpenAPI document and its telemetry before a request needs them. Inside :func:`lazy_modules` such
modules are replaced by stubs that provide any name which is taken from them: an object that imports the real
module when it is called, subclassed, asked for an attribute, or for its instances. Annotations do not need
the real module.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any, Union

# What FastAPI imports and neither a start nor a request of this function uses.
UNUSED_BY_A_START = (
    "fastapi.openapi.models",
    "fastapi.security.base",
    "fastapi.security.oauth2",
    "hashlib",
    "importlib.metadata",
    "opentelemetry._logs",
    "opentelemetry.metrics",
    "secrets",
    "ssl",
    "tempfile",
)


class LazyObject:
    """Stands for one name of a module, and imports the real one for any use other than being passed."""

    def __init__(self, module: str, name: str) -> None:
        self.__place = module, name

    def __real(self) -> Any:
        module, name = self.__place
        if isinstance(sys.modules.get(module), LazyModule):
            del sys.modules[module]
        return getattr(import_module(module), name)

    def __getattr__(self, name: str) -> Any:
        # What typing and dataclasses look for by themselves (``__parameters__``) says nothing of a need.
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__real(), name)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Calls the real object."""
        return self.__real()(*arguments, **named)

    def __getitem__(self, item: Any) -> Any:
        return self.__real()[item]

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.__real(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self.__real())

    def __subclasscheck__(self, kind: type) -> bool:
        return issubclass(kind, self.__real())

    def __or__(self, other: Any) -> Any:
        return Union[self, other]  # noqa: UP007 (this is what | means here)

    def __ror__(self, other: Any) -> Any:
        return Union[other, self]  # noqa: UP007


class LazyModule(ModuleType):
    """A module whose attributes are lazy objects."""

    def __getattr__(self, name: str) -> LazyObject:
        if name.startswith("__"):
            raise AttributeError(name)
        return LazyObject(self.__name__, name)


@contextmanager
def lazy_modules(*modules: str) -> Iterator[None]:
    """Replaces the imports of these modules inside its body.

    Modules that were imported before stay as they are; imports after the body get the real ones.
    """
    placed = [LazyModule(name) for name in modules if name not in sys.modules]
    sys.modules.update((module.__name__, module) for module in placed)
    try:
        yield
    finally:
        for module in placed:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
