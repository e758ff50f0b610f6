"""As much of the runtime API as a function meets: restore/next under SnapStart, then invocations.

The Runtime Interface Emulator has no restore, so this stands in for the service.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class RuntimeApi(ThreadingHTTPServer):
    """Hands out ``events`` in order, keeps the answers, and records the order of calls."""

    def __init__(self, events: Sequence[Any], together: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events = list(enumerate(events, 1))
        self.responses: dict[str, Any] = {}
        # So many ask before the first of them is given an event.
        self.together = threading.Barrier(together)
        self.waiting = together
        self.lock = threading.Lock()
        self.calls: list[str] = []
        self.answers: list[Any] = []
        self.done = threading.Event()

    @property
    def address(self) -> str:
        """What goes into AWS_LAMBDA_RUNTIME_API."""
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        call = self.path.partition("/runtime/")[2]
        self.server.calls.append(call)
        if call == "restore/next":
            self._reply(b"")
            return
        with self.server.lock:
            first = self.server.waiting > 0
            self.server.waiting -= first
        if first:
            self.server.together.wait(60)
        with self.server.lock:
            number, event = self.server.events.pop(0) if self.server.events else (0, None)
        if number:
            headers = {
                "Lambda-Runtime-Aws-Request-Id": f"request-{number}",
                "Lambda-Runtime-Deadline-Ms": "99999999999999",
            }
            self._reply(json.dumps(event).encode(), headers)
        else:
            # No more work: the process waits here, as in Lambda, until the test ends it.
            self.server.done.set()
            threading.Event().wait(30)

    def do_POST(self) -> None:
        self.server.calls.append(self.path.partition("/runtime/")[2])
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        answer = json.loads(body)
        self.server.answers.append(answer)
        self.server.responses[self.path.split("/")[-2]] = answer
        self._reply(b"{}", status=202)

    def _reply(self, body: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Keeps the test's output clean."""


@contextmanager
def runtime_api(events: Sequence[Any], together: int = 1) -> Iterator[RuntimeApi]:
    """A runtime API on a free port of the loopback interface, for so many processes."""
    server = RuntimeApi(events, together)
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
