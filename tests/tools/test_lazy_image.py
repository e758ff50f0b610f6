"""The benchmark of images that arrive chunk by chunk: what it reads, attributes, reports, and cleans up."""

from __future__ import annotations

import argparse
import tarfile
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import lazy_image
from benchmarks.harness import attribution, lazy_contenders, lazy_disk
from benchmarks.harness.artefacts import NEEDS
from benchmarks.harness.attribution import Extent, chunks_by_group, group_of, owner
from benchmarks.harness.image_disk import Start, extract, start_of
from benchmarks.harness.lazy_disk import LazyDiskError, TouchedChunk, missing, parse_touched
from benchmarks.measure import workload
from benchmarks.measure.lazy_start import events, inside, settings_of
from benchmarks.report import lazy_page, lazy_results
from benchmarks.report.lazy_bounds import Bound, judge
from benchmarks.report.lazy_results import Fetched, LazyResults, LazySample, Setting

ROOT = Path(__file__).parents[2]
UNDELAYED, DELAYED = Setting(0, 8), Setting(0.002, 8)


def sample(
    name: str, setting: Setting, embed: float, rank: float | None = None, chunks: int = 10
) -> LazySample:
    first = Fetched(chunks, chunks * 1000, {"weights": chunks - 2, "numpy": 2})
    second = Fetched(chunks * 2, chunks * 2000, {"weights": chunks * 2 - 2, "numpy": 2})
    return LazySample(name, setting, embed, rank, first, second if rank is not None else None)


def a_run(samples: list[LazySample]) -> LazyResults:
    facts = {"date": "2026-01-01", "processor": "a <processor>", "cpus": 2, "rounds": 3, "read_ahead": 131072}
    names = dict.fromkeys(one.contender for one in samples)
    return LazyResults(facts, {name: f"about {name}" for name in names}, dict.fromkeys(names, 100), samples)


def two_contenders() -> LazyResults:
    return a_run([
        *(sample("ours", UNDELAYED, value, value + 0.1) for value in (0.3, 0.2, 0.9)),
        *(sample("ours", DELAYED, value, value + 0.1) for value in (0.4, 0.5, 0.45)),
        *(sample("other", setting, 2.0) for setting in (UNDELAYED, DELAYED)),
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("var/task/models/embedding/model.bin", "weights"),
        ("var/task/models/e5-base-v2/model.safetensors", "weights"),
        ("var/task/models/e5-base-v2/model.onnx", "weights"),
        ("var/task/models/embedding/pieces.marisa", "code and pack"),
        ("opt/venv/lib/python3.13/site-packages/onnxruntime/capi/libonnxruntime.so.1", "onnxruntime"),
        ("opt/venv/lib/python3.13/site-packages/numpy.libs/libopenblas.so", "numpy"),
        ("opt/venv/lib/python3.13/site-packages/pydantic_core/core.so", "other packages"),
        ("usr/lib/python3/dist-packages/apt/cache.py", "other packages"),
        ("usr/local/lib/python3.13/json/__init__.py", "Python and its library"),
        ("usr/local/lib/libpython3.13.so.1.0", "Python and its library"),
        ("var/lang/bin/python3.13", "Python and its library"),
        ("opt/venv/bin/python", "Python and its library"),
        ("var/task/imports.pack", "code and pack"),
        ("var/task/lambda_app/handler.py", "code and pack"),
        ("usr/lib/x86_64-linux-gnu/libc.so.6", "system libraries"),
        ("etc/passwd", "system libraries"),
    ],
)  # fmt: skip
def test_a_file_is_part_of_one_group(path: str, group: str) -> None:
    assert group_of(path) == group
    assert group in attribution.GROUPS


def test_a_chunk_counts_for_what_its_first_read_was_for() -> None:
    extents = [Extent(4096, 8192, "var/task/models/model.bin"), Extent(8192, 12288, "etc/passwd")]
    assert [owner(extents, at) for at in (0, 4096, 8191, 8192, 12287, 12288)] == [
        None, "var/task/models/model.bin", "var/task/models/model.bin", "etc/passwd", "etc/passwd", None,
    ]  # fmt: skip
    assert chunks_by_group(extents, [0, 4096, 5000, 20000]) == {"weights": 2, "metadata": 2}
    assert chunks_by_group([], []) == {}


def test_the_list_of_touched_chunks_is_read() -> None:
    assert parse_touched("3 1200 1572864 4096\n0 1300 1024 8192\n") == [
        TouchedChunk(3, 1200, 1572864, 4096), TouchedChunk(0, 1300, 1024, 8192),
    ]  # fmt: skip
    assert parse_touched("") == []


def test_what_is_missing_is_named_with_how_to_get_it() -> None:
    everything = missing(lambda _: False, lambda _: None, user=1000, fuse_headers=lambda: False)
    assert [one.partition(":")[0] for one in everything] == [
        "root", "/dev/fuse", "loop devices (/dev/loop-control)", *lazy_disk.PACKAGES,
    ]  # fmt: skip
    assert "cc: apt-get install gcc libc6-dev" in everything
    (headers,) = missing(lambda _: True, lambda name: f"/usr/bin/{name}", user=0, fuse_headers=lambda: False)
    assert "apt-get install libfuse3-dev" in headers
    assert missing(lambda _: True, lambda name: name, user=0, fuse_headers=lambda: True) == []


def test_a_machine_without_fuse_fails_or_is_skipped_as_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lazy_disk, "missing", lambda: ["/dev/fuse: modprobe fuse", "cc: apt-get install gcc"])
    assert lazy_image.main(["--quick"]) == 1
    assert "/dev/fuse: modprobe fuse\n  cc: apt-get install gcc" in capsys.readouterr().err
    assert lazy_image.main(["--quick", "--skip-without-fuse"]) == 0
    assert capsys.readouterr().err == "skipped, the lazy image needs /dev/fuse: modprobe fuse\n"
    monkeypatch.setattr(lazy_disk, "missing", lambda: ["cc: apt-get install gcc"])
    assert lazy_image.main(["--quick", "--skip-without-fuse"]) == 1


def test_a_start_is_what_the_images_config_says() -> None:
    config = {"Entrypoint": ["/init"], "Cmd": ["a.b"], "Env": ["A=1", "B=x=y"], "WorkingDir": "/var/task"}
    assert start_of(config) == Start(["/init", "a.b"], {"A": "1", "B": "x=y"}, "/var/task")
    assert start_of({"Entrypoint": None, "Cmd": ["run"], "WorkingDir": ""}) == Start(["run"], {}, "/")
    with pytest.raises(LazyDiskError, match="neither ENTRYPOINT nor CMD"):
        start_of({})


def test_a_start_runs_in_the_image_as_a_user_like_lambdas() -> None:
    command = inside(
        Path("/mnt/root"), Start(["/init", "a.b"], {}, "/var/task"), lambda name: f"/usr/bin/{name}"
    )
    assert command == [
        "/usr/bin/nsenter", "--root=/mnt/root", "--wd=/mnt/root/var/task", "--setuid=993", "--setgid=990",
        "--", "/init", "a.b",
    ]  # fmt: skip
    with pytest.raises(LazyDiskError, match="apt-get install util-linux"):
        inside(Path("/"), Start(["run"], {}, "/"), lambda _: None)


def test_a_later_layer_removes_what_it_says(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for number, names in enumerate((
        ["etc/a", "etc/b", "opt/old/c", "keep/d"],
        ["etc/.wh.a", "opt/.wh.old", "keep/.wh..wh..opq", "keep/e"],
    )):  # fmt: skip
        with tarfile.open(tmp_path / f"{number}.tar", "w") as tar:
            for name in names:
                tar.addfile(tarfile.TarInfo(name), BytesIO())
        extract(tmp_path / f"{number}.tar", root)
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    assert files == ["etc/b", "keep/e"]


def test_undelayed_starts_are_measured_once() -> None:
    assert settings_of([0, 0.002], [1, 8]) == [Setting(0, 8), Setting(0.002, 1), Setting(0.002, 8)]
    assert [one.label for one in settings_of([0, 0.0005], [64])] == ["undelayed", "0.5 ms x 64"]


def test_contenders_are_of_different_names_and_of_what_there_is() -> None:
    assert len({one.name for one in lazy_contenders.CONTENDERS}) == len(lazy_contenders.CONTENDERS)
    for one in lazy_contenders.CONTENDERS:
        assert set(one.artefacts) <= set(NEEDS)
        assert (one.image is None) == bool(one.handler)
        if one.handler:
            module = ROOT / Path(*one.handler.split(".")[:-1]).with_suffix(".py")
            assert module.is_file()
            assert lazy_contenders.dockerfile(one).endswith(f'CMD ["{one.handler}"]\n')
            assert (ROOT / "benchmarks" / "requirements" / f"{one.environment}.txt").is_file()


def test_a_contenders_image_is_built_with_the_settings_of_ours() -> None:
    one = next(one for one in lazy_contenders.CONTENDERS if one.name == "fastembed")
    environ = {"IMAGE_FLAGS": "--network host", "PYTHON_IMAGE": "base", "CONFIG": "x", "TORCH_INDEX_URL": ""}
    assert lazy_contenders.build_command(one, "docker", environ) == [
        "docker", "build", "--tag", "lambda-benchmark:fastembed", "--build-arg", "PYTHON_IMAGE=base",
        "--build-arg", "TORCH_INDEX_URL=", "--network", "host",
    ]  # fmt: skip
    torch = next(one for one in lazy_contenders.CONTENDERS if one.name == "pytorch-int8")
    assert lazy_contenders.base_image(torch, environ) == "python:3.11-slim"
    assert lazy_contenders.base_image(torch, {**environ, "TORCH_INDEX_URL": "https://torch"}) == "base"
    assert lazy_contenders.base_image(torch, {}) is None
    assert lazy_contenders.description(torch, environ).endswith(", on python:3.11-slim")
    assert lazy_contenders.description(one, environ) == one.about
    dockerfile = lazy_contenders.DOCKERFILE.read_text(encoding="utf-8")
    ours = (ROOT / "Dockerfile.lambda").read_text(encoding="utf-8")
    base = next(line for line in ours.splitlines() if line.startswith("ARG PYTHON_IMAGE="))
    assert base in dockerfile.splitlines()


def test_events_are_those_of_the_contenders_source() -> None:
    by_name = {one.name: one for one in lazy_contenders.CONTENDERS}
    assert [event["action"] for event in events(by_name["ours-pipeline"])] == ["embed", "rerank"]
    assert [event["rawPath"] for event in events(by_name["ours"])] == ["/v1/embeddings", "/v1/rerank"]


def test_vectors_of_any_size_are_right_where_none_is_asked_for() -> None:
    event = workload.direct_embed_event(["a", "b"])
    workload.check_response(event, {"embeddings": [[0.0] * 3, [1.0] * 3]}, dimensions=None)
    wrong: list[list[list[float]]] = [[[0.0] * 3], [[0.0] * 3, [1.0]], [[], []]]
    for vectors in wrong:
        with pytest.raises(workload.WrongResponseError):
            workload.check_response(event, {"embeddings": vectors}, dimensions=None)
    with pytest.raises(workload.WrongResponseError):
        workload.check_response(event, {"embeddings": [[0.0] * 3, [1.0] * 3]})


def test_the_report_has_medians_extremes_and_groups() -> None:
    lines = lazy_results.report(two_contenders()).splitlines()
    assert (
        lines[2].split()
        == "ours undelayed 0.30 s (0.20-0.90) 0.40 s (0.30-1.00) 10 / 20 5 / 10 0 / 0".split()
    )
    assert lines[5].split() == "other 2 ms x 8 2.00 s (2.00-2.00) - 10 / - 5 / - 0 / -".split()
    assert [" ".join(line.split()) for line in lines[7:8] + lines[9:]] == [
        "chunks fetched for ours other", "weights 8 / 18 8", "numpy 2 / 2 2", "of the image 100 100",
    ]  # fmt: skip


def test_a_run_is_written_and_read(tmp_path: Path) -> None:
    lazy_results.write(two_contenders(), tmp_path / "run.json")
    assert lazy_results.read(tmp_path / "run.json") == two_contenders()
    (tmp_path / "other.json").write_text("{}", encoding="utf-8")
    for name in ("other.json", "none.json"):
        with pytest.raises(ValueError, match="holds no run of the lazy image"):
            lazy_results.read(tmp_path / name)


def test_bounds_are_of_chunks_and_of_the_ratio_to_the_undelayed_start() -> None:
    found = judge(two_contenders(), max_chunks=20, max_ratio=1.2)
    assert [(bound.figure, round(bound.found or 0, 3), bound.passed) for bound in found] == [
        ("chunks to the last answer", 20, True),
        ("2 ms x 8 / undelayed, first embedding", 1.5, False),
        ("2 ms x 8 / undelayed, first ranking", 1.375, False),
    ]
    assert str(found[1]) == "OVER  2 ms x 8 / undelayed, first embedding: 1.5, at most 1.2"
    assert not Bound("nothing", None, 1).passed
    only_delayed = judge(a_run([sample("image", DELAYED, 1.0)]), max_chunks=100, max_ratio=9)
    assert [bound.passed for bound in only_delayed] == [True, False]


def test_the_page_has_a_line_for_each_contender_and_says_what_is_not_modelled() -> None:
    page = lazy_page.render(two_contenders())
    assert lazy_page.NOT_MODELLED in page
    assert "a &lt;processor&gt;" in page
    assert page.count("<svg") == 2
    lines = lazy_page.lines_of(two_contenders(), 8, lambda one: one.rank)
    assert {name: [round(y, 2) for _, y in points] for name, points in lines.items()} == {"ours": [0.4, 0.55]}
    svg = ElementTree.fromstring(
        lazy_page.chart("a chart", {"ours": [(0, 0.3), (0.02, 0.6)], "b": [(0, 7.0)]}, ["a", "ours", "b"])
    )
    assert [line.get("class") for line in svg.findall("path")] == ["l1", "l2"]
    assert len(svg.findall("circle")) == 3


def test_the_scale_has_round_seconds_and_labels_do_not_overlap() -> None:
    assert lazy_page.ticks_around(0.3, 7) == pytest.approx([0.2, 0.5, 1, 2, 5, 10])
    assert lazy_page.ticks_around(1, 1) == pytest.approx([1, 2])
    assert lazy_page.spread([10, 12, 80]) == [10, 26, 80]


def test_arguments_are_checked() -> None:
    parse = lazy_image._parser().parse_args
    options = parse(["--delay", "0,0.5", "--at-once", "1,8", "--contenders", "fastembed,ours"])
    assert (options.delay, options.at_once) == ([0, 0.5], [1, 8])
    assert [one.name for one in lazy_image._contenders(options)] == ["ours", "fastembed"]
    assert [one.tag for one in lazy_image._contenders(parse(["--image", "a:b"]))] == ["a:b"]
    for wrong in (["--at-once", "0"], ["--delay", "-1"], ["--contenders", "nobody"], ["--rounds", "x"]):
        with pytest.raises(SystemExit):
            parse(wrong)
    assert isinstance(options, argparse.Namespace)
