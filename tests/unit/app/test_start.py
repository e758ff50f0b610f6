"""Init: which packages it imports, and that what cannot be opened ends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle, checksum
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.errors import BundleError
from lambda_app.start import start
from tests.support.fakes import http_v2
from tests.support.tiny_function import call, embed, environ

ROOT = Path(__file__).resolve().parents[3]

# Every package outside of the standard library that init imports. The web layer is by far the largest part of
# a cold start, so a new name here is a decision, not an accident.
BASE = {"lambda_app"}

SESSIONS = {"numpy", "onnxruntime"}

# Cython keeps a module of its own beside those that it compiles.
COMPILED = {"marisa_trie", "cython_runtime"}

WEB = {
    *("fastapi", "starlette", "pydantic", "pydantic_core", "mangum", "anyio", "opentelemetry"),
    *("annotated_doc", "annotated_types", "typing_extensions", "typing_inspection"),
    # FastAPI imports it where it is installed; here it writes vectors.
    "orjson",
}

LIST_PACKAGES = """
import sys
import time
before = set(sys.modules)
import lambda_app.handler
packages = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(name for name in packages if name not in sys.stdlib_module_names and not name.startswith("_")))
"""


def test_what_is_not_preloaded_opens_on_first_use(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle, PRELOAD=""), PhaseClock())
    assert function._service.registry._embedder is None
    assert len(embed(function, ["a"])) == 1
    assert function._service.registry._reranker is None
    assert call(function, {"action": "rerank", "query": "a", "documents": ["b"]})["results"]
    assert call(function, http_v2("/health"))["statusCode"] == 200


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "snap-start"])
def test_ahead_of_traffic_everything_is_warm(tiny_bundle: Bundle, kind: str) -> None:
    function = start(environ(tiny_bundle, AWS_LAMBDA_INITIALIZATION_TYPE=kind), PhaseClock())
    phases = call(function, {"action": "info"})["cold_start"]["phases_ms"]
    assert "first inference" in phases
    assert len(embed(function, ["a"])) == 1


def packages(variables: Mapping[str, str]) -> set[str]:
    environment = {"PATH": os.defpath, **variables}
    result = subprocess.run(
        [sys.executable, "-c", LIST_PACKAGES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    names: list[str] = json.loads(result.stdout.splitlines()[-1].replace("'", '"'))
    return set(names)


@pytest.mark.parametrize(
    ("preload", "expected"),
    [
        ("", BASE),
        ("embedding", BASE | SESSIONS | COMPILED),
        ("reranker", BASE | SESSIONS | COMPILED),
        ("embedding,reranker", BASE | SESSIONS | COMPILED),
        ("http", BASE | WEB),
        ("embedding,reranker,http", BASE | SESSIONS | COMPILED | WEB),
    ],
)
def test_init_imports_these_packages_and_no_others(
    tiny_bundle: Bundle, preload: str, expected: set[str]
) -> None:
    assert packages(environ(tiny_bundle, PRELOAD=preload)) == expected


def test_what_cannot_be_opened_ends_init(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A graph that onnxruntime refuses, in a bundle that is whole."""
    root = tmp_path / "models"
    shutil.copytree(tiny_bundle.directory, root)
    graph = root / "embedding" / "model.onnx"
    graph.write_bytes(b"\0" * graph.stat().st_size)
    manifest = json.loads((root / "manifest.json").read_text())
    for file in manifest["models"]["embedding"]["files"]:
        if file["path"] == "embedding/model.onnx":
            file["sha256"] = sha256(graph.read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest | {"checksum": checksum(manifest)}))
    with pytest.raises(BundleError, match=r"onnxruntime cannot open embedding/model\.onnx"):
        start({"MODEL_DIR": str(root), "LOG_LEVEL": "ERROR"}, PhaseClock())
