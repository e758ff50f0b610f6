"""Events of VPC Lattice, as those of an HTTP API. Imported by the first of them.

https://docs.aws.amazon.com/vpc-lattice/latest/ug/lambda-functions.html
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

# What a response has here beside what an HTTP API's has: the status in words.
STATUS_BYTES = 64


def http_event(event: Mapping[str, Any]) -> dict[str, Any]:
    """Returns an HTTP API event (payload format 2.0) with what an event of either version says.

    Version 1 has names in snake case, and values of a header joined by commas; version 2 has lists of them.
    """
    path, _, query = str(event.get("raw_path", event.get("path"))).partition("?")
    headers = _headers(event.get("headers"))
    context = event.get("requestContext")
    given = event.get("query_string_parameters", event.get("queryStringParameters"))
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query or _query(given),
        "headers": headers,
        "requestContext": {
            # Of the service and of its caller, for routers of the deployer's own.
            "lattice": context if isinstance(context, dict) else {},
            "http": {
                "method": event["method"],
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": headers.get("x-forwarded-for", "").partition(",")[0].strip(),
                "userAgent": headers.get("user-agent", ""),
            },
            "stage": "$default",
        },
        "body": event.get("body"),
        "isBase64Encoded": event.get("is_base64_encoded", event.get("isBase64Encoded")) is True,
    }


def lattice_response(response: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the response of an HTTP API as VPC Lattice reads it: with the status in words, no lists."""
    status = int(response["statusCode"])
    headers = dict(response.get("headers") or {})
    if response.get("cookies"):
        # Each name can have one value.
        headers["set-cookie"] = response["cookies"][0]
    known = {member.value for member in HTTPStatus}
    return {
        "statusCode": status,
        "statusDescription": f"{status} {HTTPStatus(status).phrase}" if status in known else str(status),
        "headers": headers,
        "body": response.get("body") or "",
        "isBase64Encoded": bool(response.get("isBase64Encoded")),
    }


def _headers(value: Any) -> dict[str, str]:
    """Returns names in lower case, each with its values joined."""
    joined: dict[str, str] = {}
    for name, values in value.items() if isinstance(value, dict) else ():
        texts = [text for text in (values if isinstance(values, list) else [values]) if isinstance(text, str)]
        if isinstance(name, str) and texts:
            name = name.lower()
            separator = "; " if name == "cookie" else ","
            joined[name] = separator.join([joined[name], *texts] if name in joined else texts)
    return joined


def _query(value: Any) -> str:
    pairs: list[tuple[str, str]] = []
    for name, values in value.items() if isinstance(value, dict) else ():
        texts = values if isinstance(values, list) else [values]
        pairs += [(name, text) for text in texts if isinstance(text, str)]
    return urlencode(pairs, errors="replace")
