"""A bundle is written whole or not at all, and replaces nothing but a bundle."""

import shutil
from pathlib import Path

import pytest

from builder.bundle import staged
from builder.errors import OutputError


def test_what_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    for make in (
        lambda path: (path.mkdir(), (path / "thesis.tex").write_text("x")),
        lambda path: path.write_text("x"),
    ):
        out = tmp_path / "precious"
        make(out)
        with pytest.raises(OutputError, match="is not a bundle"), staged(out):
            pytest.fail("not reached")
        shutil.rmtree(out) if out.is_dir() else out.unlink()


def test_staging(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "models"
    dead = out.parent / ".models.building-999999999"
    dead.mkdir(parents=True)
    for content in ("one", "two"):
        with staged(out) as stage:
            assert not dead.exists()
            (stage / "manifest.json").write_text(content)
        assert (out / "manifest.json").read_text() == content
    with pytest.raises(KeyboardInterrupt), staged(out):
        raise KeyboardInterrupt
    assert (out / "manifest.json").read_text() == "two"
    assert [path.name for path in out.parent.iterdir()] == ["models"]


def test_what_a_directory_holds_beside_a_bundle_is_named(tmp_path: Path) -> None:
    out = write_bundle(tmp_path / "models")
    (out / "models.old").mkdir()
    with pytest.raises(OutputError, match=r"models holds 'models\.old' and is not a bundle"), staged(out):
        pytest.fail("not reached")


def write_bundle(directory: Path, content: str = "{}") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "manifest.json").write_text(content)
    return directory


def test_a_link_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "models"
    for target in (write_bundle(tmp_path / "real"), tmp_path / "nowhere"):
        out.symlink_to(target)
        with pytest.raises(OutputError, match="is a link"), staged(out):
            pytest.fail("not reached")
        assert out.readlink() == target
        out.unlink()


def test_a_bundle_with_files_of_somebody_is_not_replaced(tmp_path: Path) -> None:
    (write_bundle(tmp_path / "models") / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="is not a bundle"), staged(tmp_path / "models"):
        pytest.fail("not reached")
    assert (tmp_path / "models" / "thesis.tex").exists()


@pytest.mark.parametrize("kind", ["directory", "file", "link"])
def test_what_appears_during_the_build_stays(tmp_path: Path, kind: str) -> None:
    out, elsewhere = tmp_path / "models", tmp_path / "elsewhere"
    elsewhere.mkdir()

    def appear() -> None:
        if kind == "directory":
            write_bundle(out)
            (out / "thesis.tex").write_text("x")
        elif kind == "file":
            out.write_text("x")
        else:
            out.symlink_to(elsewhere)

    with pytest.raises(OutputError, match=r"is not a bundle|is a link"), staged(out):
        appear()
    assert {path.name for path in tmp_path.iterdir()} == {"models", "elsewhere"}
    assert (out / "thesis.tex").exists() or out.is_file() or out.is_symlink()


def test_the_stage_of_another_build_stays_whatever_its_process_id(tmp_path: Path) -> None:
    out = tmp_path / "models"
    with staged(out) as first:
        write_bundle(first, "first")
        with staged(out) as second:
            assert first.is_dir()
            assert second != first
            write_bundle(second, "second")
        assert (out / "manifest.json").read_text() == "second"
    assert (out / "manifest.json").read_text() == "first"
    # Not a stage, whatever its name: a link is never followed.
    precious = write_bundle(tmp_path / "precious")
    (tmp_path / ".models.building-1").symlink_to(precious)
    with staged(out) as stage:
        write_bundle(stage)
    assert (precious / "manifest.json").exists()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot write"), staged(tmp_path / "file" / "models"):
        pytest.fail("not reached")
