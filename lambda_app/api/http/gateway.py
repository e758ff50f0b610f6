"""HTTP events of API Gateway (REST and HTTP APIs), Function URLs and load balancers, made safe for Mangum.

VPC Lattice's become those of an HTTP API before (lattice.py).

Mangum reads an event before its own error handling begins, so whatever it cannot read is refused here, with
a 400, or left out where nothing here reads it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from lambda_app.errors import InvalidJSONError, RequestError
from lambda_app.limits import ALB_RESPONSE_BYTES, LAMBDA_RESPONSE_BYTES
from lambda_app.text import encodable

HOST_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")


def is_http(event: Any) -> bool:
    """Whether an event comes over HTTP (and not from a queue, a schedule or a pipeline)."""
    if not isinstance(event, dict):
        return False
    if is_lattice(event):
        return True
    return isinstance(event.get("requestContext"), dict) and _method(event) is not None


def is_lattice(event: Mapping[str, Any]) -> bool:
    """Returns whether VPC Lattice sent the event: its method stands beside the context, not in it.

    Version 1 names no version and has no context; version 2 is a "2.0", as that of an HTTP API is.
    """
    if not _is_method(event.get("method")):
        return False
    context = event.get("requestContext")
    second = event.get("version") == "2.0" and isinstance(context, dict) and "http" not in context
    return isinstance(event.get("path" if second else "raw_path"), str)


def is_load_balancer(event: Mapping[str, Any]) -> bool:
    """Returns whether an Application Load Balancer sent the event."""
    return "elb" in event["requestContext"]


def response_limit(event: Mapping[str, Any]) -> int:
    """Returns the largest size in bytes of the whole response."""
    return ALB_RESPONSE_BYTES if is_load_balancer(event) else LAMBDA_RESPONSE_BYTES


def normalise(event: Mapping[str, Any], base_path: str) -> dict[str, Any]:
    """Returns a copy of the event with well-formed headers, query and path.

    The path has no stage and no ``base_path`` in front; ``callerPath`` is what the caller's address has. The
    body stays: see :func:`normalise_body`.
    """
    clean = dict(event)
    context = dict(event["requestContext"])
    if _is_v2(event):
        http = dict(context["http"])
        clean["callerPath"] = _text(http.get("path"), "/")
        http["path"] = _route(clean["callerPath"], _stage(context), base_path)
        http["sourceIp"] = _text(http.get("sourceIp"), "")
        context["http"] = http
    else:
        path = _text(event.get("path"), "/")
        # With a REST API the path comes without its stage, and the context holds the full one.
        clean["callerPath"] = _text(context.get("path"), path)
        stage = _stage(context) if clean["callerPath"] == path else ""
        clean["path"] = _route(path, stage, base_path)
        context["identity"] = context["identity"] if isinstance(context.get("identity"), dict) else {}
        if not (is_load_balancer(event) or "version" in event):
            clean.setdefault("resource", clean["path"])
    clean["requestContext"] = context
    clean["headers"] = _headers(event.get("headers"))
    if "multiValueHeaders" in event:
        clean["multiValueHeaders"] = _multi_values(event["multiValueHeaders"])
    _clean_query(clean)
    clean["cookies"] = [cookie for cookie in _list(event.get("cookies")) if _sendable(cookie)]
    return clean


def normalise_body(clean: dict[str, Any]) -> None:
    """Decodes the body of a normalised event to bytes, which Mangum takes as they are.

    Raises:
        RequestError: it cannot be decoded.
    """
    clean["body"], clean["isBase64Encoded"] = _body(clean), False
    if clean["body"] and (encodings := header_values(clean, "content-encoding")):
        from lambda_app.api.http.content_encoding import decode

        decode(clean, encodings)


def method(event: Mapping[str, Any]) -> str:
    """Returns the method of an HTTP event."""
    return _method(event) or ""


def path(event: Mapping[str, Any]) -> str:
    """Returns the path of a normalised event, as the application's routes are matched with it."""
    found: str = event["requestContext"]["http"]["path"] if _is_v2(event) else event["path"]
    return found


def header_values(event: Mapping[str, Any], name: str) -> set[str]:
    """Returns the different values of a header in a normalised event; ``name`` is in lower case."""
    values = {value for key, value in event["headers"].items() if key.lower() == name}
    for key, several in (event.get("multiValueHeaders") or {}).items():
        if key.lower() == name:
            values.update(several)
    return values


def is_preflight(event: Mapping[str, Any]) -> bool:
    """Whether a normalised event is a browser's question what a page of another origin may send."""
    asked = ("origin", "access-control-request-method")
    return method(event) == "OPTIONS" and all(header_values(event, name) for name in asked)


def _is_v2(event: Mapping[str, Any]) -> bool:
    return event.get("version") == "2.0" and not is_load_balancer(event)


def _method(event: Mapping[str, Any]) -> str | None:
    if _is_v2(event):
        http = event["requestContext"].get("http")
        method = http.get("method") if isinstance(http, dict) else None
    else:
        method = event.get("httpMethod")
    return method if _is_method(method) else None


def _is_method(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isalpha()


def _stage(context: Mapping[str, Any]) -> str:
    stage = context.get("stage")
    return f"/{stage}" if isinstance(stage, str) and stage != "$default" else ""


def _route(path: str, stage: str, base_path: str) -> str:
    """Returns the route of a path; with slashes too many the same, because nothing here redirects."""
    if path.endswith("/") or "//" in path:
        from lambda_app.api.routes import is_route

        tidy = "/" + "/".join(filter(None, path.split("/")))
        route = _without_prefixes(tidy, stage, base_path)
        if is_route(route):
            return route
    return _without_prefixes(path, stage, base_path)


def _without_prefixes(path: str, stage: str, base_path: str) -> str:
    for prefix in (stage, base_path):
        if prefix and (path == prefix or path.startswith(prefix + "/")):
            path = path[len(prefix) :]
    return path or "/"


def _text(value: Any, default: str) -> str:
    return value if isinstance(value, str) and encodable(value) else default


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _sendable(value: Any) -> bool:
    return isinstance(value, str) and encodable(value) and not any(end in value for end in "\r\n\0")


def _headers(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        return {}
    headers = {name: text for name, text in value.items() if _sendable(name) and _sendable(text)}
    return {name: text for name, text in headers.items() if _harmless(name.lower(), text)}


def _multi_values(value: Any) -> dict[str, list[str]]:
    if not isinstance(value, dict):
        return {}
    named = {name: [text for text in _list(texts) if _sendable(text)] for name, texts in value.items()}
    return {
        name: texts
        for name, texts in named.items()
        if _sendable(name) and texts and all(_harmless(name.lower(), text) for text in texts)
    }


def _harmless(name: str, text: str) -> bool:
    """Whether a header can be read: of these an address is put together, by Mangum and by request.url.

    Mangum splits Host at its colon, and takes int() of the port.
    """
    if name == "host":
        host, colon, port = text.partition(":")
        return set(host) <= HOST_CHARACTERS and (not colon or _is_port(port))
    if name == "x-forwarded-proto":
        return text in {"http", "https"}
    return name != "x-forwarded-port" or _is_port(text)


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5


def _clean_query(clean: dict[str, Any]) -> None:
    if "rawQueryString" in clean:
        clean["rawQueryString"] = _text(clean["rawQueryString"], "")
    single = clean.get("queryStringParameters")
    if single is not None:
        pairs = single.items() if isinstance(single, dict) else ()
        clean["queryStringParameters"] = {
            name: text for name, text in pairs if _sendable(name) and _sendable(text)
        }
    multiple = clean.get("multiValueQueryStringParameters")
    if multiple is not None:
        clean["multiValueQueryStringParameters"] = _multi_values(multiple)


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body")
    if body is None:
        return b""
    if not isinstance(body, str):
        raise RequestError("the event's body must be a string", param="body")
    if event.get("isBase64Encoded") is True:
        try:
            return base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise RequestError("the event's body is not valid base64", param="body") from None
    try:
        return body.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidJSONError("the body contains a lone surrogate, which is not Unicode text") from None
