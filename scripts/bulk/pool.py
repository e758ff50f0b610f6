"""Several emulators behind one address: each takes one event at a time, as each of Lambda's environments."""

from __future__ import annotations

import json
import os
import queue
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scripts.local.rie import HOST, Emulator, EmulatorError


class EmulatorPool(ThreadingHTTPServer):
    """Passes each event to an emulator that is free. One whose function has ended is started again."""

    daemon_threads = True

    def __init__(self, environment: Mapping[str, str], size: int) -> None:
        """Starts ``size`` emulators."""
        super().__init__((HOST, 0), _Request)
        self.emulators = [Emulator(environment).start() for _ in range(size)]
        self.invocations = self.lost = 0
        self._free: queue.Queue[Emulator] = queue.Queue()
        for emulator in self.emulators:
            self._free.put(emulator)

    @property
    def address(self) -> str:
        """Where events are posted."""
        return f"http://{HOST}:{self.server_address[1]}/"

    def invoke(self, payload: bytes) -> bytes:
        """Returns the response to an event; if the function ended, the error that Lambda names then."""
        emulator = self._free.get()
        self.invocations += 1
        try:
            return emulator.post(payload)
        except EmulatorError:
            self.lost += 1
            emulator.start()
            ended = {"errorType": "Runtime.ExitError", "errorMessage": "Runtime exited: signal: killed"}
            return json.dumps(ended).encode()
        finally:
            self._free.put(emulator)

    def kill(self) -> bool:
        """Ends the function of one emulator, as Lambda ends one that is out of memory; False if none runs."""
        for emulator in self.emulators:
            if (pid := emulator.runtime_pid) is not None:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def log(self) -> list[dict[str, Any]]:
        """Returns the log lines of all functions that run."""
        return [record for emulator in self.emulators for record in emulator.log]


class _Request(BaseHTTPRequestHandler):
    server: EmulatorPool

    def do_POST(self) -> None:
        """Answers one event."""
        body = self.server.invoke(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Writes nothing."""


@contextmanager
def emulator_pool(environment: Mapping[str, str], size: int) -> Iterator[EmulatorPool]:
    """Yields a pool that answers, and ends its emulators."""
    with EmulatorPool(environment, size) as pool:
        thread = threading.Thread(target=pool.serve_forever, daemon=True)
        thread.start()
        try:
            yield pool
        finally:
            pool.shutdown()
            thread.join()
            for emulator in pool.emulators:
                emulator.stop()
