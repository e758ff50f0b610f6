"""The function behind HTTP on this machine: ``python -m scripts.local.serve [--port 8000]``.

Stands in for API Gateway: each request becomes an HTTP API event (payload format 2.0) for the same handler
that Lambda calls, one at a time, as Lambda does. For trying things out; it is no server for production.
"""

from __future__ import annotations

import argparse
import base64
import json
import signal
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from scripts.local.in_process import Handler, LocalContext, open_handler

# API Gateway's own bound on a request.
MAX_BODY_BYTES = 10 * 1024 * 1024
# A client that stops in the middle of a request would otherwise hold up everybody else.
SOCKET_SECONDS = 30.0


class GatewayServer(HTTPServer):
    """A server with a Lambda handler."""

    max_body_bytes = MAX_BODY_BYTES

    def __init__(self, address: tuple[str, int], handler: Handler) -> None:
        self.lambda_handler = handler
        super().__init__(address, GatewayRequest)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are none of our concern; anything else is worth a line."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"request failed: {type(error).__name__}", file=sys.stderr)


class GatewayRequest(BaseHTTPRequestHandler):
    """Turns one HTTP request into an event, and the handler's answer into a response."""

    server: GatewayServer
    timeout = SOCKET_SECONDS
    # For `Expect: 100-continue`, which curl sends with larger bodies; connections close after each answer.
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Serves any method."""
        self.close_connection = True
        body = self._read_body()
        if body is None:
            return
        event = http_event(
            self.command,
            self.path,
            self.headers.items(),
            body,
            self.client_address[0],
            self.headers.get("host", ""),
        )
        try:
            answer = self.server.lambda_handler(event, LocalContext())
        except Exception:
            # The function has logged what went wrong; a client learns no more than from API Gateway.
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._send(*http_response(answer))

    def __getattr__(self, name: str) -> Any:
        """The standard library looks for ``do_GET`` and so on: here any method goes to the function."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _read_body(self) -> bytes | None:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers:
            self._refuse(HTTPStatus.LENGTH_REQUIRED)
        elif not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif len(length) > 9 or int(length) > self.server.max_body_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return self.rfile.read(int(length))
        return None

    def _refuse(self, status: HTTPStatus) -> None:
        self._send(
            status, [("content-type", "application/json")], json.dumps({"message": status.phrase}).encode()
        )

    def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in {"content-length", "connection"}:
                self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """The function writes a line of its own for each invocation."""


def http_event(method: str, target: str, headers: Any, body: bytes, source: str, host: str) -> dict[str, Any]:
    """An API Gateway HTTP API event, payload format 2.0.

    https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    """
    url = urlsplit(target)
    joined: dict[str, str] = {}
    cookies: list[str] = []
    for name, value in headers:
        if name.lower() == "cookie":
            cookies += [cookie.strip() for cookie in value.split(";") if cookie.strip()]
        else:
            joined[name.lower()] = f"{joined[name.lower()]},{value}" if name.lower() in joined else value
    joined |= {"x-forwarded-for": source, "x-forwarded-proto": "http"}
    query: dict[str, str] = {}
    for name, value in parse_qsl(url.query, keep_blank_values=True):
        query[name] = f"{query[name]},{value}" if name in query else value
    text, encoded = _body_text(body)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": url.path or "/",
        "rawQueryString": url.query,
        "headers": joined,
        "requestContext": {
            "accountId": "012345678912",
            "apiId": "local",
            "domainName": host,
            "domainPrefix": "local",
            "http": {
                "method": method,
                "path": url.path or "/",
                "protocol": "HTTP/1.1",
                "sourceIp": source,
                "userAgent": joined.get("user-agent", ""),
            },
            "requestId": "local",
            "routeKey": "$default",
            "stage": "$default",
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": encoded,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        event["queryStringParameters"] = query
    if body:
        event["body"] = text
    return event


def http_response(answer: Mapping[str, Any]) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body of a handler's answer, as API Gateway reads it."""
    headers = [(name, str(value)) for name, value in (answer.get("headers") or {}).items()]
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers += [(name, str(value)) for value in values]
    headers += [("set-cookie", cookie) for cookie in answer.get("cookies") or ()]
    body = answer.get("body") or ""
    raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    return int(answer["statusCode"]), headers, raw


def _body_text(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode("utf-8"), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode("ascii"), True


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is interrupted."""
    parser = argparse.ArgumentParser(prog="python -m scripts.local.serve", description=__doc__.split("\n")[0])
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--max-body-bytes", type=int, default=MAX_BODY_BYTES, help="API Gateway's own is %(default)s"
    )
    parser.add_argument("--host", default="127.0.0.1", help="(default: %(default)s)")
    options = parser.parse_args(arguments)
    # SIGINT too: a shell starts background jobs with it ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        try:
            server = GatewayServer((options.host, options.port), open_handler())
        except (OSError, OverflowError) as error:
            print(
                f"cannot listen on {options.host}:{options.port}: {error} (--port takes another)",
                file=sys.stderr,
            )
            return 1
        server.max_body_bytes = options.max_body_bytes
        with server:
            print(f"listening on http://{options.host}:{server.server_port} (Ctrl-C stops)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
