"""Gives the image's build this machine's package index."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The same port every time: it is part of what the engine's build cache goes by.
PORT = 18_765


@contextmanager
def package_index() -> Iterator[dict[str, str]]:
    """Gives this machine's pip settings as variables of ``make image``.

    Wheels that lie in a directory are served on the loopback interface meanwhile, which builds reach with the
    host's network.
    """
    flags, settings = ["--network host"], {}
    directories = [place for place in _find_links().split() if Path(place).is_dir()]
    server = _serve(directories[0]) if directories else None
    if server is not None:
        flags.append(f"--build-arg PIP_FIND_LINKS=http://127.0.0.1:{server.server_port}/")
        # With a directory of wheels at hand, PyTorch's own index is not used.
        settings["TORCH_INDEX_URL"] = os.environ.get("TORCH_INDEX_URL", "")
    flags.append(os.environ.get("IMAGE_FLAGS", ""))
    try:
        yield {**settings, "IMAGE_FLAGS": " ".join(flags).strip()}
    finally:
        if server is not None:
            server.shutdown()
            server.server_close()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def _serve(directory: str) -> http.server.ThreadingHTTPServer:
    handler = functools.partial(_QuietHandler, directory=directory)
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), handler)
    except OSError:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def _find_links() -> str:
    command = [sys.executable, "-m", "pip", "config", "get", "global.find-links"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return os.environ.get("PIP_FIND_LINKS") or result.stdout.strip()
