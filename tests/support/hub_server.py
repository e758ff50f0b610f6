"""A Hugging Face hub on loopback: as much of its HTTP interface as ``huggingface_hub`` uses to fetch a model.

Faults are switched on per file, so that tests can see what a user sees when a real hub has them.
"""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

Fault = Literal["break off", "missing", "unavailable"]
API = "api"  # among the faults: the listing of a revision


@dataclass(slots=True)
class HubServer:
    """One repository at one commit. ``requests`` are the paths asked for, without those of the API."""

    directory: Path
    repository: str
    commit: str
    faults: dict[str, Fault] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def listing(self) -> list[str]:
        """Paths of the files, and of some that a build has no business with."""
        return sorted(
            path.relative_to(self.directory).as_posix()
            for path in self.directory.rglob("*")
            if path.is_file()
        )


@contextmanager
def serving(
    directory: Path, *, repository: str = "tiny/embedder", commit: str = "c" * 40
) -> Iterator[HubServer]:
    """Serves a model's directory while the block runs."""
    hub = HubServer(directory, repository, commit)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(hub: HubServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            api = f"/api/models/{hub.repository}/revision/"
            resolve = f"/{hub.repository}/resolve/"
            if path.startswith(api):
                self._revision(path.removeprefix(api))
            elif path.startswith("/api/models/"):
                self._refuse(404, "RepoNotFound")
            elif path.startswith(resolve):
                revision, _, name = path.removeprefix(resolve).partition("/")
                if revision == hub.commit:
                    self._file(name, body=body)
                else:
                    self._refuse(404, "RevisionNotFound")
            else:
                self._refuse(404, "RepoNotFound")

        def _revision(self, revision: str) -> None:
            if hub.faults.get(API) == "unavailable":
                self._refuse(503, "")
                return
            if revision != hub.commit:
                self._refuse(404, "RevisionNotFound")
                return
            siblings = [{"rfilename": name} for name in hub.listing()]
            self._send(json.dumps({"id": hub.repository, "sha": hub.commit, "siblings": siblings}).encode())

        def _file(self, name: str, *, body: bool) -> None:
            fault = hub.faults.get(name)
            if body:
                hub.requests.append(name)
            if fault == "missing":
                self._refuse(404, "EntryNotFound")
                return
            content = (hub.directory / name).read_bytes()
            etag = hashlib.sha256(content).hexdigest()
            self._send(
                content,
                {"ETag": f'"{etag}"', "X-Repo-Commit": hub.commit},
                body=body,
                cut=fault == "break off",
            )

        def _send(
            self,
            content: bytes,
            headers: dict[str, str] | None = None,
            *,
            body: bool = True,
            cut: bool = False,
        ) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            for key, value in (headers or {}).items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(content[: len(content) // 2] if cut else content)
            if body and cut:
                self.close_connection = True

        def _refuse(self, status: int, code: str) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Silence."""

    return Handler
