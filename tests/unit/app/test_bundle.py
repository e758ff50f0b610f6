"""The bundle: what is opened is what was built, or a message that says what is not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle, verify_bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.errors import BundleError, ConfigurationError
from lambda_app.models.registry import ModelRegistry
from lambda_app.settings import Settings
from tests.support.manifests import FILES, entry, write_manifest


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "embedding").mkdir()
    for name, content in FILES.items():
        (tmp_path / "embedding" / name).write_bytes(content)
    write_manifest(tmp_path)
    return tmp_path


def test_a_whole_bundle_opens_and_verifies(root: Path) -> None:
    bundle = Bundle.open(root)
    assert bundle.embedding is not None
    assert bundle.reranker is None
    assert bundle.embedding.tensors[0].shape == (10, 4)
    assert bundle.embedding.tensors[0].sparse
    assert verify_bundle(root) == sum(map(len, FILES.values()))


def truncate_weights(root: Path) -> None:
    (root / "embedding" / "model.bin").write_bytes(b"weights")


def remove_tokenizer(root: Path) -> None:
    (root / "embedding" / "tokenizer.json").unlink()


def alter_graph(root: Path) -> None:
    (root / "embedding" / "model.onnx").write_bytes(b"Graph")


def alter_manifest(root: Path) -> None:
    path = root / "manifest.json"
    path.write_text(path.read_text().replace('"mean"', '"cls"'))


def break_manifest(root: Path) -> None:
    (root / "manifest.json").write_text("[" * 100_000)


def remove_manifest(root: Path) -> None:
    (root / "manifest.json").unlink()


def foreign_manifest(root: Path) -> None:
    (root / "manifest.json").write_text('{"model_type": "bert"}')


def newer_schema(root: Path) -> None:
    write_manifest(root, schema_version=99)


def missing_field(root: Path) -> None:
    incomplete = entry()
    del incomplete["pooling"]
    write_manifest(root, models={"embedding": incomplete})


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (truncate_weights, "embedding/model.bin has 7 bytes, the manifest says 700"),
        (remove_tokenizer, "embedding/tokenizer.json is missing"),
        (alter_graph, "embedding/model.onnx was altered"),
        (alter_manifest, "manifest.json was altered"),
        (break_manifest, "no bundle manifest"),
        (remove_manifest, "Build one with `python build_models.py`"),
        (foreign_manifest, "no bundle manifest"),
        (newer_schema, "schema version 99, this code reads 1"),
        (missing_field, "entry of the embedding model is incomplete .*pooling"),
    ],
)
def test_damage_is_found_when_the_bundle_is_opened(
    root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(root)
    with pytest.raises(BundleError, match=message):
        Bundle.open(root)


WRONG_FIELDS: list[dict[str, object]] = [
    {"files": []},
    {"files": [{"path": "../secret", "bytes": 1, "sha256": "0"}]},
    {"files": [{"path": "embedding/model.onnx", "bytes": "1", "sha256": "0"}]},
    {"files": {"a": 1}},
    {"tensors": [["table", "int8", [10, 4], "0", 40, True]]},
    {"tensors": [["table", "int8", [10, 4], -8, 40, True]]},
    {"tensors": 3},
    {"quantization": []},
    {"prompts": None},
    {"prompts": {"query": 3}},
    {"max_tokens": "16"},
    {"tokenizer_kind": "other"},
    {"matryoshka": ["2"]},
]


@pytest.mark.parametrize(
    "changes",
    [
        {"models": []},
        {"models": {"embedding": 3}},
        {"models": {"../embedding": entry()}},
        {"build": None},
        {"rerank_kind": "other"},
        *({"models": {"embedding": entry() | change}} for change in WRONG_FIELDS),
    ],
)
def test_a_form_that_is_wrong_under_a_right_checksum(root: Path, changes: dict[str, object]) -> None:
    write_manifest(root, **changes)
    with pytest.raises(BundleError) as caught:
        Bundle.open(root)
    assert caught.value.code == "invalid_bundle"


def test_altered_weights_are_found_by_verification_only(root: Path) -> None:
    (root / "embedding" / "model.bin").write_bytes(b"Weights" * 100)
    Bundle.open(root)
    with pytest.raises(BundleError, match=r"model\.bin was altered"):
        verify_bundle(root)


def test_a_missing_directory_says_how_to_build_one(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle at .*MODEL_DIR"):
        Bundle.open(tmp_path / "nothing")


def test_models_that_the_bundle_lacks_are_refused_in_init(root: Path) -> None:
    settings = Settings.from_env({"MODEL_DIR": str(root), "MODELS": "embedding,reranker"})
    with pytest.raises(ConfigurationError, match="MODELS names reranker"):
        ModelRegistry(settings, PhaseClock())
