"""The function behind HTTP on this machine: ``python -m scripts.local.serve [--port 8000]``.

Takes API Gateway's part: each request becomes an HTTP API event (payload format 2.0) for the same handler
that Lambda calls, one at a time, as Lambda does. A POST to Lambda's own path (that of the emulator too) is a
direct invocation, so that an AWS client with ``endpoint_url`` reaches the function. Not for production.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from scripts.local.chunked import TooLargeError, read_chunked
from scripts.local.gateway_events import http_event, http_response
from scripts.local.in_process import Handler, LocalContext, open_handler
from scripts.local.invocation_api import invocation_response, is_invocation, is_too_large

# API Gateway's own bound on a request; Lambda's on the event that it becomes is smaller.
MAX_BODY_BYTES = 10 * 1024 * 1024
# A client that stops in the middle of a request would otherwise hold up everybody else.
SOCKET_SECONDS = 30.0


class GatewayServer(HTTPServer):
    """A server with a Lambda handler."""

    max_body_bytes = MAX_BODY_BYTES
    refuses_as_lambda = True

    def __init__(self, address: tuple[str, int], handler: Handler) -> None:
        """Listens on an address; ``handler`` is called for each request, one at a time."""
        self.lambda_handler = handler
        super().__init__(address, GatewayRequest)

    def handle_error(self, request: object, client_address: object) -> None:
        """Writes a line, unless the client went away."""
        error = sys.exception()
        if not isinstance(error, ConnectionError | TimeoutError):
            print(f"request failed: {type(error).__name__}", file=sys.stderr)


class GatewayRequest(BaseHTTPRequestHandler):
    """Turns one HTTP request into an event, and the handler's response into a response."""

    server: GatewayServer
    timeout = SOCKET_SECONDS
    # For `Expect: 100-continue`, which curl sends with larger bodies; connections close after each response.
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        """Serves any method."""
        self.close_connection = True
        body = self._read_body()
        if body is None:
            return
        if self.command == "POST" and is_invocation(self.path):
            kind = self.headers.get("x-amz-invocation-type", "RequestResponse")
            self._send(*invocation_response(self.server.lambda_handler, body, kind))
            return
        event = http_event(
            self.command,
            self.path,
            self.headers.items(),
            body,
            self.client_address[0],
            self.headers.get("host", ""),
        )
        if self.server.refuses_as_lambda and is_too_large(json.dumps(event, ensure_ascii=False).encode()):
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return
        try:
            response = self.server.lambda_handler(event, LocalContext())
        except Exception:
            # The function has logged what went wrong; a client learns no more than from API Gateway.
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        self._send(*http_response(response))

    def __getattr__(self, name: str) -> Any:
        """The standard library looks for ``do_GET`` and so on: here any method goes to the function."""
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def _read_body(self) -> bytes | None:
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers:
            return self._read_chunks()
        if not (length.isascii() and length.isdigit()):
            self._refuse(HTTPStatus.BAD_REQUEST)
        elif len(length) > 9 or int(length) > self.server.max_body_bytes:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            return self.rfile.read(int(length))
        return None

    def _read_chunks(self) -> bytes | None:
        # A length beside the chunks could be read one way here and another way by a proxy in front.
        if self.headers["transfer-encoding"].strip().lower() != "chunked" or "content-length" in self.headers:
            self._refuse(HTTPStatus.BAD_REQUEST)
            return None
        try:
            return read_chunked(self.rfile, self.server.max_body_bytes)
        except TooLargeError:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        except ValueError:
            self._refuse(HTTPStatus.BAD_REQUEST)
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


def main(arguments: list[str] | None = None) -> int:
    """Serves until it is interrupted; 1 when the port is taken."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.local.serve", description="Serves the function over HTTP on this machine."
    )
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one (default: %(default)s)")
    parser.add_argument(
        "--max-body-bytes",
        type=int,
        help="takes larger bodies than API Gateway and Lambda do, up to this size",
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
        if options.max_body_bytes is not None:
            server.max_body_bytes, server.refuses_as_lambda = options.max_body_bytes, False
        with server:
            print(f"listening on http://{options.host}:{server.server_port} (Ctrl-C stops)", flush=True)
            server.serve_forever()
    except KeyboardInterrupt:
        print("stopped")
    return 0


if __name__ == "__main__":
    sys.exit(main())
