"""Manifests of bundles that hold no real model."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from shutil import copytree
from typing import Any

from lambda_app.bundle import checksum

FILES = {"model.onnx": b"graph", "model.bin": b"weights" * 100, "tokenizer.json": b"{}"}


def entry() -> dict[str, Any]:
    return {
        "id": "test/embedding",
        "source": {"kind": "local"},
        "architecture": "bert",
        "hidden_size": 4,
        "dimensions": 4,
        "matryoshka": [2],
        "max_tokens": 16,
        "pooling": "mean",
        "prompts": {},
        "activation": None,
        "quantization": {"scheme": "none", "weight_bits": 32, "instruction_sets": ["avx2"], "prepack": True},
        "tokenizer_kind": "library",
        "pad_token_id": 0,
        "inputs": ["input_ids", "attention_mask"],
        "tensors": [["table", "int8", [10, 4], 0, 40, True]],
        "files": [
            {"path": f"embedding/{name}", "bytes": len(content), "sha256": sha256(content).hexdigest()}
            for name, content in FILES.items()
        ],
        "parity": {},
        "fingerprint": "sha256:0",
    }


def write_manifest(root: Path, **changes: Any) -> None:
    manifest = {
        "schema_version": 1,
        "build": {"tools": {}},
        "models": {"embedding": entry()},
        "rerank_kind": None,
    } | changes
    (root / "manifest.json").write_text(json.dumps(manifest | {"checksum": checksum(manifest)}))


def rewrite_manifest(bundle: Path, target: Path, **changes: Any) -> Path:
    """Returns ``target`` made a bundle with the files of another and its manifest with ``changes``."""
    for path in bundle.iterdir():
        if path.is_dir():
            copytree(path, target / path.name)
    manifest = json.loads((bundle / "manifest.json").read_bytes()) | changes
    (target / "manifest.json").write_text(json.dumps(manifest | {"checksum": checksum(manifest)}))
    return target
