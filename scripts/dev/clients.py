"""Official clients against the function: ``python -m scripts.dev.clients [pytest's arguments]``.

The function runs under the Runtime Interface Emulator, behind the local gateway. The clients are unmodified
and have an environment of their own (``requirements/clients.txt``). The model is the embedded one with the
prompts of e5, so that a lost input type would show; the function demands a key.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lambda_app.bundle import MANIFEST, Bundle, checksum, read_manifest
from scripts.dev.environments import ensure_environment
from scripts.local.embedded_bundle import MODELS, ensure_bundle
from scripts.local.rie import Emulator
from scripts.local.serve import GatewayServer
from scripts.paths import ROOT

TESTS = ROOT / "tests" / "clients"
PAGE = ROOT / "docs" / "CLIENTS.md"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
PROMPTS = {"query": "query: ", "passage": "passage: "}
# The key that the page's snippets use.
KEY = "my-key"


def main(arguments: list[str]) -> int:
    """Runs the clients' tests; returns pytest's exit status."""
    python = ensure_environment("clients") / "python"
    with tempfile.TemporaryDirectory() as directory, function(prompted_bundle(Path(directory))) as address:
        environment = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": directory,
            "FUNCTION_URL": address,
            "FUNCTION_KEY": KEY,
            "CLIENTS_PAGE": str(PAGE),
            # Nothing leaves this machine: see the guard in conftest.py too.
            "HAYSTACK_TELEMETRY_ENABLED": "False",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "LANGSMITH_TRACING": "false",
            "DO_NOT_TRACK": "1",
        }
        command = [str(python), "-m", "pytest", str(TESTS), *arguments]
        return subprocess.run(command, env=environment, check=False).returncode


def prompted_bundle(directory: Path) -> Path:
    """Returns the embedded bundle, linked into ``directory``, with prompts written into its manifest."""
    try:
        embedding = Bundle.open(MODELS).embedding
        foreign = embedding is None or embedding.id != MINILM
    except Exception:  # none there yet
        foreign = False
    source = ensure_bundle(ROOT / ".cache" / "test-models" if foreign else MODELS).directory
    bundle = directory / "models"
    shutil.copytree(source, bundle, copy_function=os.symlink)
    manifest = read_manifest(source)
    manifest["models"]["embedding"]["prompts"] = PROMPTS
    manifest["checksum"] = checksum(manifest)
    (bundle / MANIFEST).unlink()
    (bundle / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return bundle


@contextmanager
def function(bundle: Path) -> Iterator[str]:
    """Gives the address of the function under the emulator, behind the local gateway."""
    environment = {
        "MODEL_DIR": str(bundle),
        "LOG_LEVEL": "ERROR",
        "API_KEYS_SHA256": hashlib.sha256(KEY.encode()).hexdigest(),
    }
    with Emulator(environment) as emulator:
        server = GatewayServer(("127.0.0.1", 0), lambda event, context: emulator.invoke(event))
        # One request at a time, as an execution environment serves them; others wait for their turn.
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
