"""The FastAPI application over the service. The only module that knows FastAPI."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

# Looking for pydantic's plugins reads the metadata of every installed package; there are none here.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

from lambda_app.coldstart.lazy_modules import UNUSED_BY_A_START, lazy_modules

# Keys are checked before FastAPI, the OpenAPI document is our own, and nothing is reported to anyone.
with lazy_modules(*UNUSED_BY_A_START):
    from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from lambda_app.api.parsing.fields import parse_json
from lambda_app.api.routes import GETS, PAGES, POSTS, Route
from lambda_app.errors import LambdaAppError, MethodNotAllowedError, NotFoundError, RequestError

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service

JSON = "application/json"


def create_app(service: Service, allow_origins: Sequence[str] = (), routers: Sequence[str] = ()) -> FastAPI:
    """Builds the application: the routes, each with its error format.

    Browsers may call it from pages of ``allow_origins``; ``*`` allows all pages.
    """
    app = FastAPI(
        title="Embeddings and reranking",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # A redirect would repeat the request's address, without the stage: see gateway.normalise.
        redirect_slashes=False,
        # Spans and logs would carry requests out of the function, and this one opens no connection.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    # Starlette's own routes: bodies are read by fields.py, so FastAPI's analysis of each endpoint's signature
    # would find nothing, and takes time.
    for route in POSTS:
        app.add_route(route.path, _post(service, route), methods=["POST"])
    for route in GETS:
        app.add_route(route.path, _get(service, route), methods=["GET"])
    for route in PAGES:
        app.add_route(route.path, _page(route), methods=["GET"])
    if routers:
        from lambda_app.api.http.routers import include_routers

        include_routers(app, routers)
    app.add_exception_handler(HTTPException, _on_http_exception)
    # Inside of CORS, so that pages of other origins can read these errors too.
    app.add_middleware(TypedErrors)
    if allow_origins:
        from starlette.middleware.cors import CORSMiddleware

        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(allow_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "x-model-fingerprint", "x-ignored-fields", "retry-after"],
        )
    return app


class TypedErrors:
    """Answers what no endpoint has caught, such as a bug in a deployer's own router, as every other error."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Runs the application."""
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            await _error(error, Request(scope))(scope, receive, send)


def load(route: Route) -> Any:
    """Returns the function of a route; its module is imported by the first request for it."""
    return getattr(import_module(f"lambda_app.api.{route.module}"), route.function)


def _post(service: Service, route: Route) -> Any:
    async def endpoint(request: Request) -> Response:
        invocation = _invocation(request)
        try:
            handle = load(route)
            body = _with_parameters(parse_json(await request.body()), request.path_params)
            answer, fingerprint = handle(service, body, invocation)
        except Exception as error:
            return _error(error, request)
        headers = invocation.headers()
        if fingerprint:
            headers["x-model-fingerprint"] = fingerprint
        return _json(answer, 200, headers)

    return endpoint


def _with_parameters(body: Any, parameters: Mapping[str, str]) -> Any:
    """Returns a body with the fields that the path states and the body does not."""
    if not (parameters and isinstance(body, dict)):
        return body
    stated = {name: unquote(value) for name, value in parameters.items() if body.get(name) is None}
    return {**body, **stated}


def _get(service: Service, route: Route) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            read = load(route)
            answer = read(service, request.path_params, _invocation(request))
        except Exception as error:
            return _error(error, request)
        return _without_body(request, _json(answer, 200, {"x-request-id": _invocation(request).request_id}))

    return endpoint


def _page(route: Route) -> Any:
    async def endpoint(request: Request) -> Response:
        try:
            render = load(route)
            content, headers = render(
                request.scope["aws.event"], request.scope["path"], **request.path_params
            )
            if route.path == "/openapi.json" and hasattr(request.app.state, "document"):
                from lambda_app.api.http.routers import merge

                whole = merge(json.loads(content), request.app.state.document())
                content = json.dumps(whole, ensure_ascii=False).encode("utf-8")
        except Exception as error:
            return _error(error, request)
        headers["x-request-id"] = _invocation(request).request_id
        return _without_body(request, Response(content, 200, headers))

    return endpoint


def _without_body(request: Request, response: Response) -> Response:
    """Removes the body from a response to HEAD, because no gateway does."""
    if request.method == "HEAD":
        response.body = b""
    return response


def _error(error: Exception, request: Request, *, status: int | None = None) -> Response:
    """Writes an error in the format of its route, and logs it if it is a fault of ours."""
    from lambda_app.api.http.error_responses import failure

    invocation = _invocation(request)
    failed = failure(error, request.scope["path"], invocation, status=status)
    invocation.usage.code = failed.code
    if failed.status == 500:
        invocation.log_fault(error)
    return _json(failed.body, failed.status, failed.headers)


async def _on_http_exception(request: Request, raised: Exception) -> Response:
    """Writes the router's own errors in the format of the other errors."""
    status = getattr(raised, "status_code", 500)
    headers = getattr(raised, "headers", None) or {}
    error: LambdaAppError = RequestError("the request cannot be served")
    if status == 404:
        error = NotFoundError("there is no such route: the README lists the routes")
    elif status == 405:
        error = MethodNotAllowedError(f"this route takes {headers.get('Allow', 'another method')}")
    response = _error(error, request, status=status)
    response.headers.update(headers)
    return response


def _json(content: Any, status: int, headers: dict[str, str]) -> Response:
    # ensure_ascii off: echoed documents in other scripts would triple in size. Texts with lone surrogates
    # never get this far, so the encoding cannot fail.
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    return Response(body, status, headers, JSON)


def _invocation(request: Request) -> Invocation:
    # Mangum puts what it is called with as the context into the scope, and reads nothing of it.
    invocation: Invocation = request.scope["aws.context"]
    return invocation
