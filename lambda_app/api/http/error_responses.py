"""Writes errors in the format of each client API: the one place where they become statuses and bodies.

Imported with the first error.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_app.api.http import gateway
from lambda_app.api.routes import ROUTES, ErrorFormat
from lambda_app.errors import (
    AuthenticationError,
    DeadlineError,
    EmptyError,
    InvalidJSONError,
    LambdaAppError,
    LimitError,
    MethodNotAllowedError,
    ModelUnavailableError,
    NotFoundError,
    RequestError,
    TextError,
    UnsupportedEncodingError,
)

if TYPE_CHECKING:
    from lambda_app.invocation import Invocation

Statuses = tuple[tuple[type[LambdaAppError], int], ...]
# Most specific first; any other error is a fault of the function, and a 500.
STATUS: Statuses = (
    (AuthenticationError, 401),
    (NotFoundError, 404),
    (MethodNotAllowedError, 405),
    (ModelUnavailableError, 404),
    (LimitError, 413),
    (UnsupportedEncodingError, 415),
    (RequestError, 400),
    (DeadlineError, 504),
)
# The statuses of text-embeddings-inference; what its parser refuses is a 422 there.
TEI_STATUS: Statuses = (
    (AuthenticationError, 401),
    (NotFoundError, 404),
    (MethodNotAllowedError, 405),
    (ModelUnavailableError, 424),
    (LimitError, 413),
    (UnsupportedEncodingError, 415),
    (EmptyError, 400),
    (InvalidJSONError, 400),
    (TextError, 422),
    (RequestError, 422),
    (DeadlineError, 504),
)
TEI_TYPES: tuple[tuple[type[LambdaAppError], str], ...] = (
    (EmptyError, "Empty"),
    (TextError, "Tokenizer"),
    (ModelUnavailableError, "Backend"),
    (RequestError, "Validation"),
    (DeadlineError, "Overloaded"),
)
RETRY_AFTER_SECONDS = 1


class ErrorDetails(NamedTuple):
    """The facts that every error format writes."""

    error: Exception
    status: int
    message: str
    code: str
    param: str | None
    request_id: str


class Failure(NamedTuple):
    """The response to an error, as the clients of one API read it."""

    status: int
    code: str
    body: dict[str, Any]
    headers: dict[str, str]


def failure(error: Exception, path: str, invocation: Invocation, *, status: int | None = None) -> Failure:
    """Writes any exception in the error format of the route at ``path``.

    An exception that is not the caller's mistake is written without details. ``status`` overrides the
    table's.
    """
    write, statuses = FORMATS[_FORMAT_OF_PATH.get(path, "openai")]
    if status is None:
        status = next((number for kind, number in statuses if isinstance(error, kind)), 500)
    known = isinstance(error, LambdaAppError) and status != 500
    details = ErrorDetails(
        error=error,
        status=status,
        message=_message(error, invocation.usage.ignored_fields)
        if known
        else "internal error: the function's log has the cause",
        code=getattr(error, "code", LambdaAppError.code),
        param=getattr(error, "param", None) if known else None,
        request_id=invocation.request_id,
    )
    headers = invocation.headers()
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    elif status == 415:
        headers["accept-encoding"] = "gzip"
    elif status == 504:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    return Failure(status, details.code, write(details), headers)


def allow_origin(event: Mapping[str, Any], origins: Collection[str]) -> dict[str, str]:
    """Returns the headers that let a page of another origin read a response; none if it may not.

    For responses of which the application knows nothing.
    """
    if "*" in origins:
        return {"access-control-allow-origin": "*"}
    allowed = gateway.header_values(event, "origin") & set(origins)
    return {"access-control-allow-origin": allowed.pop(), "vary": "Origin"} if len(allowed) == 1 else {}


def gateway_response(
    event: Mapping[str, Any],
    status: int,
    content: Mapping[str, Any],
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Returns a gateway response with a JSON body, for an event that does not reach the application."""
    written: dict[str, Any] = {"statusCode": status, "body": json.dumps(content), "isBase64Encoded": False}
    sent = {"content-type": "application/json", **(headers or {})}
    if gateway.is_load_balancer(event) and "multiValueHeaders" in event:
        written["multiValueHeaders"] = {name: [value] for name, value in sent.items()}
    else:
        written["headers"] = sent
    return written


def _message(error: Exception, ignored_fields: Sequence[str]) -> str:
    """Returns an error's message; that of a missing field says whether an ignored one is nearly its name."""
    param = getattr(error, "param", None)
    if getattr(error, "code", None) == "missing_field" and param and ignored_fields:
        from lambda_app.api.parsing.unknown import nearest_name

        if nearest_name(param, ignored_fields):
            return f"{error}; an unknown field of this request has nearly that name"
    return str(error)


def _openai(details: ErrorDetails) -> dict[str, Any]:
    """https://platform.openai.com/docs/guides/error-codes; the format of every route without another."""
    return {
        "error": {
            "message": details.message,
            "type": "invalid_request_error" if details.status < 500 else "server_error",
            "param": details.param,
            "code": details.code,
        }
    }


def _embeddings(details: ErrorDetails) -> dict[str, Any]:
    """OpenAI's clients read ``error``, Voyage's and Jina's ``detail``."""
    return {**_openai(details), "detail": details.message}


def _rerank(details: ErrorDetails) -> dict[str, Any]:
    """Cohere's clients read ``message``, Voyage's and Jina's ``detail``."""
    return {
        "id": details.request_id,
        "message": details.message,
        "detail": details.message,
        **_openai(details),
    }


def _cohere(details: ErrorDetails) -> dict[str, Any]:
    """https://docs.cohere.com/reference/errors, with a code and the field's name."""
    return {
        "id": details.request_id,
        "message": details.message,
        "code": details.code,
        "param": details.param,
    }


def _tei(details: ErrorDetails) -> dict[str, Any]:
    """https://huggingface.github.io/text-embeddings-inference, with a code and the field's name."""
    error_type = next((name for kind, name in TEI_TYPES if isinstance(details.error, kind)), "Backend")
    return {"error": details.message, "error_type": error_type, "code": details.code, "param": details.param}


# How each error format of the table of routes writes an error, and its statuses.
FORMATS: Mapping[ErrorFormat, tuple[Callable[[ErrorDetails], dict[str, Any]], Statuses]] = {
    "openai": (_openai, STATUS),
    "embeddings": (_embeddings, STATUS),
    "rerank": (_rerank, STATUS),
    "cohere": (_cohere, STATUS),
    "tei": (_tei, TEI_STATUS),
}
_FORMAT_OF_PATH: Mapping[str, ErrorFormat] = {route.path: route.errors for route in ROUTES}
