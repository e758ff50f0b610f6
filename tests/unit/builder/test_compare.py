"""Schemes side by side, at tiny size: what is measured, what is written, and what fails without a crash."""

import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from builder import cli, pipeline
from builder.compare import compare
from builder.compare import page as compare_page
from builder.compare import table as compare_table
from builder.compare.timing import measure, shapes_of
from builder.config.load import load_config
from builder.config.schema import BuildConfig, Overrides
from builder.errors import BuildError, ExportError, OutputError
from builder.inputs import ModelInput, gather_inputs
from builder.progress import Progress
from builder.quantization.schemes import check_machine
from lambda_app.bundle import Bundle
from tests.support.builds import build_bundle, write_config
from tests.support.tiny_sources import TinySources


def prepared(
    directory: Path, schemes: tuple[str, ...], **options: Any
) -> tuple[list[BuildConfig], list[ModelInput]]:
    path = write_config(directory, parity="fail", **options)
    configs = [load_config(path, Overrides(quantization=scheme), {}) for scheme in schemes]
    return configs, gather_inputs(configs[0], directory / "cache", Progress(io.StringIO()))


@pytest.fixture(scope="module")
def compared(tiny_sources: TinySources, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A directory with a finished comparison of both tasks, and what was said meanwhile."""
    root = tmp_path_factory.mktemp("compared")
    sources = {"embedding": str(tiny_sources.embedder), "reranker": str(tiny_sources.xlmr_reranker)}
    configs, inputs = prepared(root, ("int8", "none"), **sources)
    said = io.StringIO()
    compare.compare(configs, "int8", inputs, root / "out", Progress(said), rounds=2)
    return root / "out", said.getvalue()


def test_every_figure_of_every_scheme_is_measured(compared: tuple[Path, str]) -> None:
    out, said = compared
    assert sorted(path.name for path in out.iterdir()) == ["compare.html", "compare.json"]
    report = json.loads((out / "compare.json").read_text())
    assert [(entry["scheme"], entry["default"]) for entry in report["schemes"]] == [
        ("int8", True),
        ("none", False),
    ]
    int8, fp32 = report["schemes"]
    for entry in (int8, fp32):
        assert entry["status"] == "ok"
        for model in entry["models"].values():
            assert list(model["latency_ms"]) == ["1x16", "1x64", "16x64"]
            for spread in (model["load_ms"], *model["latency_ms"].values()):
                assert 0 < spread["min"] <= spread["median"] <= spread["max"]
            assert model["latency_ms"]["16x64"]["median"] > model["latency_ms"]["1x16"]["median"]
            # Python, numpy and onnxruntime alone are more than this.
            assert model["first_resident_bytes"] > 20e6
    assert fp32["models"]["embedding"]["parity"]["mean_cosine"] > 0.99999
    assert int8["models"]["embedding"]["parity"]["mean_cosine"] < 0.99999
    assert int8["models"]["embedding"]["bytes"] < fp32["models"]["embedding"]["bytes"]
    assert "rank_agreement" in int8["models"]["reranker"]["parity"]
    assert said.count("embedding: export ") == 1
    assert said.count("time all schemes") == 2
    printed = compare_table.summary(report)
    assert "int8 *" in printed
    assert "embedding: tiny-embedder" in printed


class Reader(HTMLParser):
    """Tags, and every attribute with a value."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_the_page_stands_alone(compared: tuple[Path, str]) -> None:
    text = (compared[0] / "compare.html").read_text()
    reader = Reader()
    reader.feed(text)
    assert not {"script", "link", "img", "iframe", "object", "image", "use"} & set(reader.tags)
    assert not {"src", "href", "xlink:href", "data", "action"} & {name for name, _ in reader.attributes}
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert not re.search(r"://|url\(|@import", text)
    assert reader.tags.count("svg") == 2
    assert text.count("int8 (default)</text>") == 2
    assert str(Path.home()) not in text


def test_all_points_lie_within_the_chart(compared: tuple[Path, str]) -> None:
    text = (compared[0] / "compare.html").read_text()
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', text)
    assert len(points) == 4
    for left, top in points:
        assert 72 <= float(left) <= 736
        assert 28 <= float(top) <= 348


def test_names_are_escaped(compared: tuple[Path, str]) -> None:
    report = json.loads((compared[0] / "compare.json").read_text())
    report["models"]["embedding"]["id"] = "<script>alert(1)</script>"
    report["schemes"][1].update(status="missed", code="parity_failed", reason="a < b & c")
    text = compare_page.page(report)
    assert "<script" not in text
    assert "a &lt; b &amp; c" in text
    assert 'class="missed"' in text


def test_schemes_that_fail_are_rows(
    tiny_sources: TinySources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_vnni(scheme: str, *_: Any) -> None:
        check_machine(scheme, "x86_64", ["avx2"])

    monkeypatch.setattr(pipeline, "check_machine", no_vnni)
    configs, inputs = prepared(
        tmp_path, ("int8-vnni", "int8"), embedding=str(tiny_sources.embedder), strict=True
    )
    report = compare.compare(configs, "int8", inputs, tmp_path / "out", Progress(io.StringIO()), rounds=1)
    failed, missed = report["schemes"]
    assert (failed["status"], failed["code"], failed["models"]) == ("failed", "wrong_cpu", {})
    assert (missed["status"], missed["code"]) == ("missed", "parity_failed")
    assert "mean_cosine" in missed["reason"]
    assert missed["models"]["embedding"]["latency_ms"]
    printed = compare_table.summary(report)
    assert re.search(r"^int8-vnni +(- +)+failed$", printed, re.MULTILINE)
    assert "VNNI" in (tmp_path / "out" / "compare.html").read_text()


def test_a_timing_that_fails_is_a_row(
    tiny_sources: TinySources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compare, "available_cpus", lambda: "many")
    configs, inputs = prepared(tmp_path, ("int8",), embedding=str(tiny_sources.embedder))
    with pytest.raises(BuildError, match="no scheme could be measured: int8: timing failed: ") as caught:
        compare.compare(configs, "int8", inputs, tmp_path / "out", Progress(io.StringIO()), rounds=1)
    assert caught.value.code == "compare_failed"
    assert list((tmp_path / "out").iterdir()) == []


def test_shared_exports_make_the_same_bundle(tiny_sources: TinySources, tmp_path: Path) -> None:
    alone = Bundle.open(build_bundle(tmp_path, embedding=str(tiny_sources.embedder))).embedding
    configs, inputs = prepared(tmp_path, ("none", "int8"), embedding=str(tiny_sources.embedder))
    exports = tmp_path / "exports"
    exports.mkdir()
    for config in configs:
        out = tmp_path / config.quantization
        (shared,) = pipeline.build(config, inputs, out, Progress(io.StringIO()), exports=exports)
    assert alone is not None
    assert shared.info.files == alone.files


def test_timing_runs_the_shapes_that_the_model_takes(tiny_bundle: Bundle) -> None:
    assert shapes_of(512) == [(1, 16), (1, 128), (16, 128)]
    assert shapes_of(16) == [(1, 16), (16, 16)]
    assert tiny_bundle.reranker is not None
    measured = measure(tiny_bundle.reranker, 1)
    assert list(measured["latency_ms"]) == ["1x16", "1x64", "16x64"]


def test_a_bundle_is_never_touched(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds a bundle"):
        compare.check_place(tiny_bundle.directory)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is not a directory"):
        compare.check_place(tmp_path / "file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "int8,int3"], "no scheme 'int3'"),
        (["--compare", ""], "no scheme ''"),
        (["--compare", "int8,"], "no scheme ''"),
        (["--compare", "int8", "--quantization", "int8"], "--quantization does not go with --compare"),
        (["--compare", "int8", "--parity", "off"], "--parity does not go with --compare"),
        (["--compare", "int8", "--verify", "models"], "--verify does not go with --compare"),
    ],
)
def test_usage_errors(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments, {}) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error[invalid_config]: ")
    assert message in printed


def test_the_command_line(
    tiny_sources: TinySources,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        compare, "_time", lambda *_: (_ for _ in ()).throw(ExportError("stopped before timing"))
    )
    monkeypatch.chdir(tmp_path)
    config = write_config(tmp_path, embedding=str(tiny_sources.embedder))
    arguments = ["--config", str(config), "--compare", "int8, none"]
    assert cli.main(arguments, {"MODEL_CACHE_DIR": str(tmp_path / "cache")}) == 1
    printed = capsys.readouterr().err
    assert "int8 (1 of 2)" in printed
    assert "error[export_failed]: stopped before timing" in printed
    # Nothing went to the bundle's place, and nothing stays.
    assert not (tmp_path / "models").exists()
    assert list((tmp_path / "compare").iterdir()) == []
