"""The events of a recorded start, and as much of Lambda's runtime API as hands them out."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# A start that takes longer has failed.
SECONDS = 120
TEXT = "How long does a container keep its memory between two requests?"
DOCUMENTS = ["A container is frozen until the next request comes.", "Bread rises because yeast makes gas."]


def http_event(path: str, body: Any) -> dict[str, Any]:
    """Returns an event of an HTTP API (payload version 2.0)."""
    return {
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "host": "localhost"},
        "requestContext": {
            "http": {"method": "POST", "path": path, "sourceIp": "127.0.0.1", "protocol": "HTTP/1.1"},
            "stage": "$default",
        },
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


HTTP = (
    http_event("/v1/embeddings", {"input": [TEXT], "input_type": "query"}),
    http_event("/v1/rerank", {"query": TEXT, "documents": DOCUMENTS}),
)
DIRECT = (
    {"action": "embed", "texts": [TEXT], "input_type": "query"},
    {"action": "rerank", "query": TEXT, "documents": DOCUMENTS},
)
# PRELOAD, and what a function that is set so is asked.
STARTS: tuple[tuple[str | None, Sequence[Any]], ...] = (
    (None, (*HTTP, *DIRECT)),
    ("embedding,reranker", DIRECT),
)


class RuntimeApi(ThreadingHTTPServer):
    """As much of Lambda's runtime API as one function needs.

    ``ready`` is set when the function asks for its first event, which it gets when ``serves`` is set;
    ``finished`` when there is no more work.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, events: Iterable[Any]) -> None:
        """Takes the events to hand out, in their order."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events = list(events)
        self.errors: list[str] = []
        self.ready = threading.Event()
        self.serves = threading.Event()
        self.finished = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        self.server.ready.set()
        self.server.serves.wait(SECONDS)
        if not self.server.events:
            self.server.finished.set()
            threading.Event().wait(SECONDS)
            return
        self._reply(200, json.dumps(self.server.events.pop(0)).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path.endswith("/error"):
            self.server.errors.append(body.decode(errors="replace")[:500])
            self.server.finished.set()
        self._reply(202, b"{}")

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "recorded")
        self.send_header("Lambda-Runtime-Deadline-Ms", "99999999999999")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""
