"""The bundle: the directory that the build writes and the function opens, and the only contract between them.

``manifest.json`` describes everything else. Opening a bundle checks what is cheap (the manifest's own
checksum, the graph's sha256, the size of every file); :func:`verify_bundle` reads and hashes every byte, for
builds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lambda_app.bundle.digest import file_sha256, sha256
from lambda_app.bundle.form import check_fields, has_form
from lambda_app.errors import BundleError

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
WEIGHTS = "model.bin"
TOKENIZER_JSON = "tokenizer.json"
WORDPIECE_JSON = "wordpiece.json"
"""Beside a compiled WordPiece vocabulary: what else is needed of ``tokenizer.json``."""

Task = Literal["embedding", "reranker"]
RerankKind = Literal["cross-encoder", "bi-encoder"]
TokenizerKind = Literal["library", "unigram", "wordpiece"]


class BundleFile(NamedTuple):
    """One file of the bundle; ``path`` is relative to the bundle's directory, with forward slashes."""

    path: str
    bytes: int
    sha256: str


class Tensor(NamedTuple):
    """One initializer in ``model.bin``: numpy dtype name, shape, and its bytes' place in the file.

    ``sparse`` marks lookup tables, of which a request reads a few rows: they are never read ahead.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    bytes: int
    sparse: bool


class Quantization(NamedTuple):
    """How the weights were quantized, and where that is safe and fast.

    ``instruction_sets`` lists those for which the answers were checked (where parity was off, those that
    the scheme is meant for), ``generic`` alone where nothing depends on them. ``prepack`` says whether a
    session opened on demand should let onnxruntime repack the weights (slower to open, faster per call).
    """

    scheme: str
    weight_bits: int
    instruction_sets: tuple[str, ...]
    prepack: bool


class ModelInfo(NamedTuple):
    """One model of the bundle. ``inputs`` are the graph's input names in order; lengths are in tokens.

    ``pooling``, ``dimensions`` and ``prompts`` describe embedders, and so does ``matryoshka``: the dimensions
    that their vectors may be cut to, largest first; ``activation`` describes cross-encoders
    (``sigmoid`` or ``identity``, applied by the function to the graph's logit).
    """

    task: Task
    directory: Path
    id: str
    source: Mapping[str, Any]
    architecture: str
    hidden_size: int
    dimensions: int
    matryoshka: tuple[int, ...]
    max_tokens: int
    pooling: str | None
    prompts: Mapping[str, str]
    activation: str | None
    quantization: Quantization
    tokenizer_kind: TokenizerKind
    pad_token_id: int
    inputs: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    files: tuple[BundleFile, ...]
    parity: Mapping[str, Any]
    fingerprint: str

    @property
    def graph_path(self) -> Path:
        """Returns the path of ``model.onnx``."""
        return self.directory / GRAPH

    @property
    def weights_path(self) -> Path:
        """Returns the path of ``model.bin``."""
        return self.directory / WEIGHTS


class Bundle(NamedTuple):
    """A bundle whose manifest has been read and checked.

    ``rerank_kind`` is ``bi-encoder`` when documents are ranked by the embedding model's cosine; ``reranker``
    is then None.
    """

    directory: Path
    build: Mapping[str, Any]
    embedding: ModelInfo | None
    reranker: ModelInfo | None
    rerank_kind: RerankKind | None

    @classmethod
    def open(cls, directory: str | os.PathLike[str]) -> Bundle:
        """Reads the manifest and checks it against the files: presence, sizes, and the graphs' sha256.

        Raises:
            BundleError: the directory is no bundle, or a file is missing, of another size, or altered.
        """
        root = Path(directory)
        manifest = read_manifest(root)
        if not has_form(manifest):
            raise BundleError(
                f"{root / MANIFEST} does not have the form of a manifest (models, build, rerank_kind): "
                "rebuild the bundle"
            )
        models = {task: _model_info(root, task, entry) for task, entry in manifest["models"].items()}
        for model in models.values():
            for file in model.files:
                _check_size(root, file)
                if file.path.endswith("/" + GRAPH):
                    _check_hash(root, file)
        return cls(
            directory=root,
            build=manifest["build"],
            embedding=models.get("embedding"),
            reranker=models.get("reranker"),
            rerank_kind=manifest["rerank_kind"],
        )

    def models(self) -> Iterator[ModelInfo]:
        """The models present, embedding first."""
        yield from (model for model in (self.embedding, self.reranker) if model is not None)


def checksum(manifest: Mapping[str, Any]) -> str:
    """sha256 of a manifest's canonical JSON, its own ``checksum`` field left out."""
    content = {key: value for key, value in manifest.items() if key != "checksum"}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return sha256(canonical.encode("ascii")).hexdigest()


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest as JSON, its schema version and checksum verified.

    Raises:
        BundleError: naming the file and what was expected.
    """
    path = root / MANIFEST
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"no model bundle at {root}: cannot read {MANIFEST} ({error.strerror}). "
            "Build one with `python build_models.py`, or point MODEL_DIR at a directory that holds one."
        ) from error
    try:
        manifest = json.loads(raw)
        version = manifest["schema_version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BundleError(f"{path} is no bundle manifest: not a JSON object with schema_version") from error
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"{path} has schema version {version!r}, this code reads {SCHEMA_VERSION}: rebuild the bundle"
        )
    if manifest.get("checksum") != checksum(manifest):
        raise BundleError(f"{path} was altered after the build: its checksum does not match its content")
    return dict(manifest)


def verify_bundle(directory: str | os.PathLike[str]) -> int:
    """Hashes every file of a bundle and returns how many bytes were read.

    Raises:
        BundleError: as :meth:`Bundle.open`, or on the first file whose sha256 differs.
    """
    bundle = Bundle.open(directory)
    files = [file for model in bundle.models() for file in model.files]
    for file in files:
        _check_hash(bundle.directory, file)
    return sum(file.bytes for file in files)


def _check_size(root: Path, file: BundleFile) -> None:
    try:
        size = os.stat(root / file.path).st_size
    except OSError as error:
        raise BundleError(f"{file.path} is missing from the bundle at {root} ({error.strerror})") from error
    if size != file.bytes:
        raise BundleError(
            f"{file.path} has {size} bytes, the manifest says {file.bytes}: the bundle is incomplete"
        )


def _check_hash(root: Path, file: BundleFile) -> None:
    found = file_sha256(root / file.path, file.bytes)
    if found != file.sha256:
        raise BundleError(
            f"{file.path} was altered: its sha256 is {found[:12]}..., not {file.sha256[:12]}..."
        )


def _model_info(root: Path, task: str, entry: Mapping[str, Any]) -> ModelInfo:
    try:
        fields = dict(entry)
        quantization = dict(fields.pop("quantization"))
        quantization["instruction_sets"] = tuple(quantization["instruction_sets"])
        model = ModelInfo(
            task=task,  # type: ignore[arg-type]  # the checksum vouches for the value
            directory=root / task,
            quantization=Quantization(**quantization),
            matryoshka=tuple(fields.pop("matryoshka")),
            inputs=tuple(fields.pop("inputs")),
            tensors=tuple(
                Tensor(name, dtype, tuple(shape), offset, size, sparse)
                for name, dtype, shape, offset, size, sparse in fields.pop("tensors")
            ),
            files=tuple(BundleFile(**file) for file in fields.pop("files")),
            **fields,
        )
        check_fields(model._asdict(), {GRAPH, WEIGHTS, TOKENIZER_JSON})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(
            f"{root / MANIFEST}: the entry of the {task} model is incomplete ({error})"
        ) from error
    return model
