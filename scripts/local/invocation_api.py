"""Lambda's Invoke API over a handler, as far as clients use it.

https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
"""

from __future__ import annotations

import json
import re
import traceback
from typing import Any

from lambda_app.limits import LAMBDA_REQUEST_BYTES
from scripts.local.in_process import Handler, LocalContext

# What Lambda takes of a synchronous and of an asynchronous invocation.
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
REQUEST_BYTES = LAMBDA_REQUEST_BYTES
EVENT_BYTES = 1024 * 1024
Response = tuple[int, list[tuple[str, str]], bytes]
_PATH = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?(\?.*)?")
_JSON = ("content-type", "application/json")


def is_too_large(payload: bytes, kind: str = "RequestResponse") -> bool:
    """Returns whether Lambda refuses a payload for its size."""
    return len(payload) > (EVENT_BYTES if kind == "Event" else REQUEST_BYTES)


def is_invocation(target: str) -> bool:
    """Returns whether a request's path is that of an invocation; any function's name will do."""
    return _PATH.fullmatch(target) is not None


def invocation_response(handler: Handler, payload: bytes, kind: str) -> Response:
    """Invokes a handler, and returns the status, headers and body of Lambda's response.

    Args:
        handler: called with the event and a context.
        payload: the event as JSON; empty means ``{}``, as in Lambda.
        kind: ``RequestResponse``; ``Event``, whose response is empty; or ``DryRun``, which calls nothing.
    """
    if is_too_large(payload, kind):
        limit = EVENT_BYTES if kind == "Event" else REQUEST_BYTES
        message = (
            f"{len(payload)} byte payload is too large for the {kind} invocation type (limit {limit} bytes)"
        )
        refusal = json.dumps({"Type": "User", "message": message})
        return 413, [_JSON, ("x-amzn-errortype", "RequestTooLargeException")], refusal.encode()
    try:
        event = json.loads(payload or b"{}")
    except ValueError:
        refusal = json.dumps({"Type": "User", "Message": "Could not parse request body into json."})
        return 400, [_JSON, ("x-amzn-errortype", "InvalidRequestContentException")], refusal.encode()
    if kind == "DryRun":
        return 204, [], b""
    context = LocalContext()
    failed: list[tuple[str, str]] = []
    try:
        body = json.dumps(handler(event, context))
    except Exception as error:
        failed = [("x-amz-function-error", "Unhandled")]
        body = json.dumps(fault(error, context.aws_request_id))
    if kind == "Event":
        return 202, [], b""
    headers = [_JSON, ("x-amz-executed-version", context.function_version), *failed]
    return 200, [*headers, ("x-amzn-requestid", context.aws_request_id)], body.encode()


def fault(error: Exception, request_id: str) -> dict[str, Any]:
    """Returns what Lambda responds with when a handler has raised."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_tb(error.__traceback__),
    }
