"""The variants of the table of cold-start techniques still take away what they name."""

import importlib
from pathlib import Path

import pytest

from benchmarks.measure.technique_probe import Patch, apply
from benchmarks.techniques import VARIANTS

PATCHES = [patch for variant in VARIANTS for patch in (*variant.patches, *variant.packing)]
SOURCE = (
    '"""Says something."""\nfrom typing_extensions import TypedDict\n'
    'class Shape(TypedDict):\n    """Has a side."""\n    side: int\n'
)


def restored(monkeypatch: pytest.MonkeyPatch, patch: Patch) -> None:
    """Remembers what a patch replaces, and puts it back after the test."""
    owner: object = importlib.import_module(patch.module)
    *outer, name = patch.attribute.split(".")
    for part in outer:
        owner = getattr(owner, part)
    monkeypatch.setattr(owner, name, getattr(owner, name))


@pytest.mark.parametrize("patch", PATCHES, ids=lambda patch: f"{patch.module}.{patch.attribute}")
def test_what_a_variant_patches_is_there(patch: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    restored(monkeypatch, patch)
    apply([patch])


def test_a_patch_of_what_is_not_there_fails() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        apply([Patch("gc", "no_such_name", "None")])


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("with docstrings in the import pack", ("Says something.", "Has a side.")),
        ("with TypedDicts in the import pack", ("Shape",)),
    ],
)
def test_packs_keep_what_their_variant_names(
    name: str, kept: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.image import pack_imports

    def constants() -> str:
        source = tmp_path / "module.py"
        source.write_text(SOURCE, encoding="utf-8")
        typed_dicts = "pydantic_core.core_schema" if "TypedDicts" in name else "module"
        code = pack_imports.lean(typed_dicts, str(source))
        return repr([getattr(one, "co_consts", one) for one in code.co_consts])

    assert not any(word in constants() for word in kept)
    variant = next(one for one in VARIANTS if one.name == name)
    for patch in variant.packing:
        restored(monkeypatch, patch)
    apply(variant.packing)
    assert all(word in constants() for word in kept)
