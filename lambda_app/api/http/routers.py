"""A deployer's own routes: FastAPI routers that APP_ROUTERS names. Loaded only where it is set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi

from lambda_app.api.named import import_named
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
    app.router.default = _Tidied(app.router)


class _Tidied:
    """Tries a path that is not a route again with a slash at its end, or without: redirects are off."""

    def __init__(self, router: Any) -> None:
        self._router = router
        self._not_found = router.default

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Runs the route that is found, or answers that the path is not known."""
        path = scope["path"]
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        if other and "retried" not in scope:
            await self._router({**scope, "path": other, "retried": True}, receive, send)
        else:
            await self._not_found(scope, receive, send)


def merge(document: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the document with the deployer's paths and schemas; those of the function stay."""
    schemas = own.get("components", {}).get("schemas", {})
    document["paths"] = {**own["paths"], **document["paths"]}
    document["components"]["schemas"] = {**schemas, **document["components"]["schemas"]}
    return document


def _load(name: str) -> APIRouter:
    router = import_named(name, "APP_ROUTERS", "module:router")
    if not isinstance(router, APIRouter):
        raise ConfigurationError("APP_ROUTERS must name FastAPI APIRouters", param="APP_ROUTERS")
    return router
