"""The command line as a user runs it: what it prints, its exit codes, and what it leaves behind."""

import hashlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from builder import cli
from lambda_app.bundle import Bundle
from scripts.local.embedded_bundle import embedded_source
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
    source = embedded_source()
    arguments = ["--config", str(ROOT / "models.minilm.toml"), "--list"]
    assert cli.main(arguments, {"USE_QUANTIZATION": "false"}) == 0
    printed = capsys.readouterr().out
    assert f"pypi:{source.package}=={source.version}" in printed
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


def test_the_embedder_can_be_left_out(tiny_sources: TinySources, tmp_path: Path) -> None:
    bundle = Bundle.open(build_bundle(tmp_path, reranker=str(tiny_sources.bert_reranker)))
    assert bundle.embedding is None
    assert bundle.reranker is not None
    assert bundle.rerank_kind == "cross-encoder"
    assert bundle.reranker.activation == "sigmoid"
