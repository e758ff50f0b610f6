"""S3 on this machine, and a front of it that breaks connections off where a test says so."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scripts.dev.local_s3 import BUCKET, ENVIRONMENT, client, s3_server, upload

__all__ = ["BUCKET", "ENVIRONMENT", "Front", "client", "front", "s3_server", "upload"]


class Front(ThreadingHTTPServer):
    """Passes requests on. ``cuts`` is how many answers to a GET of ``suffix`` still break off half-way;
    ``hold`` keeps such answers back until it is set. ``ranges`` collects the Range headers of those GETs."""

    daemon_threads = True

    def __init__(self, address: str, suffix: str) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.behind = address.removeprefix("http://")
        self.suffix = suffix
        self.cuts = 0
        self.hold: threading.Event | None = None
        self.ranges: list[str | None] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Connections that break off are what it is for."""


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Front

    def do_GET(self) -> None:
        self._pass()

    def do_HEAD(self) -> None:
        self._pass()

    def _pass(self) -> None:
        # The signature is not checked by the server behind, so the Host header may go as it came.
        connection = http.client.HTTPConnection(self.server.behind, timeout=10)
        connection.request(self.command, self.path, headers=dict(self.headers))
        response = connection.getresponse()
        body = response.read()
        connection.close()
        wanted = self.command == "GET" and self.path.partition("?")[0].endswith(self.server.suffix)
        if wanted:
            self.server.ranges.append(self.headers.get("Range"))
            if self.server.hold is not None:
                self.server.hold.wait(30)
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in {"server", "date", "connection"}:
                self.send_header(name, value)
        self.end_headers()
        if wanted and self.server.cuts:
            self.server.cuts -= 1
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def front(address: str, suffix: str) -> Iterator[Front]:
    """A front of the server at ``address``; see :class:`Front`."""
    with Front(address, suffix) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
