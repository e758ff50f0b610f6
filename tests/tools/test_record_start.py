"""What the list of a start is recorded from: pages that are mapped, files that are read, and nothing else."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from scripts.image import record_start, used_pages
from scripts.image.used_pages import UsedPages


@pytest.fixture
def used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[UsedPages, Path, Path]:
    """Pages used by this process; the file that says what it opens, and one to be mapped."""
    monkeypatch.setattr(used_pages, "OUTSIDE", ("/proc",))  # files in /tmp count here
    opened, mapped = tmp_path / "opened", tmp_path / "mapped"
    opened.write_bytes(b"")
    mapped.write_bytes(bytes(3 * used_pages.PAGE))
    return UsedPages(os.getpid(), opened), opened, mapped


def pages_of(used: UsedPages, path: Path) -> list[int]:
    return [page for look in used.looks() for name, page in look if name == str(path)]


def test_a_file_that_is_read_counts_whole_and_one_that_is_mapped_by_its_pages(
    used: tuple[UsedPages, Path, Path], tmp_path: Path
) -> None:
    pages, opened, mapped = used
    read = tmp_path / "read"
    read.write_bytes(bytes(used_pages.PAGE + 1))
    opened.write_text(f"{read}\n{mapped}\n")
    pages.look(models=True)
    with mapped.open("rb") as stream:
        memory = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    memory.madvise(mmap.MADV_RANDOM)
    assert memory[2 * used_pages.PAGE] == 0
    pages.look(models=True)
    assert pages_of(pages, read) == [0, 1]
    # Opened before it was mapped, between two looks.
    assert set(pages_of(pages, mapped)) >= {2}
    memory.close()


def test_of_models_only_what_init_reads_is_listed(
    used: tuple[UsedPages, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, opened, _ = used
    monkeypatch.setattr(used_pages, "MODELS", tmp_path / "models")
    (tmp_path / "models" / "embedding").mkdir(parents=True)
    for name in ("manifest.json", "embedding/model.onnx", "embedding/tokenizer.json", "late.npy"):
        (tmp_path / "models" / name).write_text("{}")
    manifest = tmp_path / "models" / "manifest.json"
    manifest.write_text('{"models": {"embedding": {"tokenizer_kind": "wordpiece"}}}')
    opened.write_text(f"{manifest}\n")
    pages.look(models=True)
    opened.write_text(f"{manifest}\n{tmp_path / 'models' / 'late.npy'}\n{tmp_path / 'mapped'}\n")
    pages.look(models=False)
    found = {Path(name).name for look in pages.looks() for name, _ in look}
    assert {"manifest.json", "model.onnx", "mapped"} <= found
    assert not {"tokenizer.json", "late.npy"} & found
    manifest.write_text('{"models": {"embedding": {"tokenizer_kind": "library"}}}')
    assert [path.name for path in used_pages.read_by_libraries(manifest)] == ["model.onnx", "tokenizer.json"]


def test_small_files_are_copied_to_their_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_start, "MAX_COPIED_BYTES", 10)
    small, large = tmp_path / "in" / "small", tmp_path / "in" / "large"
    small.parent.mkdir()
    small.write_bytes(bytes(10))
    large.write_bytes(bytes(11))
    small.chmod(0o755)
    assert record_start.copy_small([str(small), str(large)], tmp_path / "out") == 10
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == [tmp_path / "out" / str(small).lstrip("/")]
    assert files[0].stat().st_mode == small.stat().st_mode


def test_pages_become_ranges_in_the_order_of_first_use() -> None:
    looks = [[("/b", 7), ("/b", 5), ("/a", 0)], [("/b", 6), ("/a", 100)]]
    assert record_start.ranges(looks) == [
        ("/b", 5 * 4096, 3 * 4096),
        ("/a", 0, 4096),
        ("/b", 6 * 4096, 4096),
        ("/a", 100 * 4096, 4096),
    ]
    assert record_start.coverage([("/b", 5 * 4096, 4096)], looks) == pytest.approx(1 / 5)
    assert record_start.coverage([], []) == 0.0
