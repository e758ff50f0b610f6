"""The HTTP door: a FastAPI application over the service. The only module that knows FastAPI."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

# Looking for pydantic's plugins reads the metadata of every installed package; there are none here.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import pydantic

# FastAPI's models of the OpenAPI document are built when they are first used instead of here: 60 ms.
pydantic.BaseModel.model_config["defer_build"] = True
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

pydantic.BaseModel.model_config.pop("defer_build")

from lambda_app.api import cohere, openai
from lambda_app.api.fields import parse_json
from lambda_app.errors import (
    DeadlineError,
    LambdaAppError,
    LimitError,
    MethodNotAllowedError,
    ModelUnavailableError,
    NotFoundError,
    RequestError,
)

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation
    from lambda_app.service import Service

JSON = "application/json"
# The key of an API Gateway event under which the dispatcher hands over what it knows of the invocation.
INVOCATION = "lambda_app.invocation"
# Most specific first; anything else is our fault and a 500.
STATUS: tuple[tuple[type[LambdaAppError], int], ...] = (
    (NotFoundError, 404),
    (MethodNotAllowedError, 405),
    (ModelUnavailableError, 404),
    (LimitError, 413),
    (RequestError, 400),
    (DeadlineError, 504),
)

Answer = tuple[dict[str, Any], str]
PostHandler = Callable[["Service", Any, float | None], Answer]


def create_app(service: Service) -> FastAPI:
    """The application: routes, and every error in one form."""
    app = FastAPI(
        title="Embeddings and reranking",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        # Spans and logs would carry requests out of the function, and this one opens no connection.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    _post(app, "/v1/embeddings", service, openai.embeddings)
    _post(app, "/v1/rerank", service, cohere.rerank)
    _get(app, "/v1/models", lambda: openai.models(service))
    _get(app, "/health", lambda: {"status": "ok"})
    _get(app, "/info", service.info)
    app.add_exception_handler(HTTPException, _on_http_exception)
    return app


def _post(app: FastAPI, path: str, service: Service, handle: PostHandler) -> None:
    async def endpoint(request: Request) -> Response:
        invocation = _invocation(request)
        try:
            body = parse_json(await request.body())
            answer, fingerprint = handle(service, body, invocation.deadline)
        except Exception as error:
            return error_response(error, invocation)
        return _json(answer, 200, {"x-model-fingerprint": fingerprint, "x-request-id": invocation.request_id})

    app.add_api_route(path, endpoint, methods=["POST"], response_model=None)


def _get(app: FastAPI, path: str, answer: Callable[[], dict[str, Any]]) -> None:
    async def endpoint(request: Request) -> Response:
        invocation = _invocation(request)
        try:
            return _json(answer(), 200, {"x-request-id": invocation.request_id})
        except Exception as error:
            return error_response(error, invocation)

    app.add_api_route(path, endpoint, methods=["GET"], response_model=None)


def error_response(error: Exception, invocation: Invocation) -> Response:
    """Any exception as OpenAI's error object; one that is not the caller's is logged and told without
    detail."""
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    if status == 500:
        invocation.log_fault(error)
    headers = {"x-request-id": invocation.request_id}
    if status == 504:
        headers["retry-after"] = "1"
    return _json(error_body(error, status), status, headers)


def error_body(error: Exception, status: int) -> dict[str, Any]:
    """``{"error": {message, type, param, code}}``, the form of
    https://platform.openai.com/docs/guides/error-codes."""
    known = isinstance(error, LambdaAppError) and status != 500
    return {
        "error": {
            "message": str(error) if known else "internal error: the function's log has the cause",
            "type": "invalid_request_error" if status < 500 else "server_error",
            "param": getattr(error, "param", None) if known else None,
            "code": getattr(error, "code", LambdaAppError.code),
        }
    }


async def _on_http_exception(request: Request, raised: Exception) -> Response:
    """The router's own refusals, in our form."""
    status = getattr(raised, "status_code", 500)
    headers = {"x-request-id": _invocation(request).request_id, **(getattr(raised, "headers", None) or {})}
    error: LambdaAppError = RequestError("the request cannot be served")
    if status == 404:
        error = NotFoundError("no such route: see the README for the routes there are")
    elif status == 405:
        error = MethodNotAllowedError(f"this route takes {headers.get('Allow', 'another method')}")
    return _json(error_body(error, status), status, headers)


def _json(content: dict[str, Any], status: int, headers: dict[str, str]) -> Response:
    # ensure_ascii off: echoed documents in other scripts would triple in size. Texts with lone surrogates
    # never get this far, so the encoding cannot fail.
    body = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8")
    return Response(body, status, headers, JSON)


def _invocation(request: Request) -> Invocation:
    invocation: Invocation = request.scope["aws.event"][INVOCATION]
    return invocation
