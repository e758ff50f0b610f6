"""S3 on this machine: moto's server, and a front that breaks connections off where a test says so."""

from __future__ import annotations

import http.client
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from moto.server import ThreadedMotoServer

BUCKET = "models"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDTEST",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    # The machine's own settings stay out, and nobody asks an instance for a role.
    "AWS_CONFIG_FILE": "/nonexistent",
    "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def s3_server(address: str = "127.0.0.1") -> Iterator[str]:
    """URL of an empty S3, which listens on one of this machine's addresses."""
    # Its server would write a line for each of hundreds of ranges.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=address, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        # What was stored is the process's, not the server's.
        connection = http.client.HTTPConnection(host, port, timeout=10)
        connection.request("POST", "/moto-api/reset")
        assert connection.getresponse().status == 200
        connection.close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def client(address: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=address,
        region_name="us-east-1",
        aws_access_key_id=ENVIRONMENT["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=ENVIRONMENT["AWS_SECRET_ACCESS_KEY"],
        config=Config(read_timeout=20, retries={"total_max_attempts": 2}),
    )


def upload(address: str, root: Path, prefix: str) -> None:
    """Puts every file of a directory below a prefix of :data:`BUCKET`."""
    s3 = client(address)
    s3.create_bucket(Bucket=BUCKET)
    for path in sorted(root.rglob("*")):
        if path.is_file():
            key = f"{prefix}/{path.relative_to(root).as_posix()}"
            s3.put_object(Bucket=BUCKET, Key=key.lstrip("/"), Body=path.read_bytes())
    s3.close()


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
