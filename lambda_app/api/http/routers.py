"""A deployer's own routes: FastAPI routers that APP_ROUTERS names. Loaded only where it is set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from lambda_app.errors import ConfigurationError


def include_routers(app: FastAPI, names: Iterable[str]) -> None:
    """Includes each router, and keeps their part of the OpenAPI document in ``app.state.document``.

    Raises:
        ConfigurationError: a name of APP_ROUTERS is not that of an APIRouter.
    """
    own = FastAPI()
    for name in names:
        router = _load(name)
        app.include_router(router)
        own.include_router(router)
    app.state.document = lambda: get_openapi(title="", version="", routes=own.routes)


def merge(document: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document with the deployer's paths and schemas; those of the function stay."""
    schemas = own.get("components", {}).get("schemas", {})
    document["paths"] = {**own["paths"], **document["paths"]}
    document["components"]["schemas"] = {**schemas, **document["components"]["schemas"]}
    return document


def _load(name: str) -> APIRouter:
    module, _, attribute = name.partition(":")
    try:
        router = getattr(import_module(module), attribute)
    except Exception as error:
        raise ConfigurationError(
            f"APP_ROUTERS cannot be imported ({type(error).__name__}): it must be module:router",
            param="APP_ROUTERS",
        ) from error
    if not isinstance(router, APIRouter):
        raise ConfigurationError("APP_ROUTERS must name FastAPI APIRouters", param="APP_ROUTERS")
    return router
