"""The pure parts of the benchmark: statistics, targets, the page, the records, the requests."""

import html.parser
import io
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks import coldstart, quick
from benchmarks.harness import images, pagecache
from benchmarks.harness.artefacts import NEEDS, key
from benchmarks.harness.contender import CONTENDERS, OURS_FP32
from benchmarks.harness.process_usage import usage
from benchmarks.harness.progress import Progress
from benchmarks.harness.stamps import digest, is_made, make_once, seconds_to_make
from benchmarks.measure import workload
from benchmarks.measure.run import files_of
from benchmarks.report import results, terminal
from benchmarks.report.charts import Row, Segment, chart
from benchmarks.report.page import render
from benchmarks.report.results import Cache, Results, Sample, Size, WarmSample
from benchmarks.report.stats import Summary, ratio, summarize
from benchmarks.report.targets import Target, compute_targets
from builder.progress import table
from builder.svg import tick_step
from scripts.image.build import ImageError

SPANS = [("interpreter", 0.0, 70.0), ("imports", 80.0, 300.0), ("<new> & phase", 90.0, 120.0)]


def sample(contender: str, embed: float, *, cache: Cache = "warm", cpus: int = 2) -> Sample:
    ours = contender == "ours"
    return Sample(
        contender, cpus, cache, ready=embed * 0.9, embed=embed, rerank=embed * 1.2 if ours else None,
        cpu_seconds=embed, resident=280_000_000, anonymous=130_000_000, peak=300_000_000, storage_read=1,
        models_read=180_000_000 if cache == "cold" else None, code_read=1000 if cache == "cold" else None,
        residue=0 if cache == "cold" else None, spans=SPANS if ours else [],
    )  # fmt: skip


def run(samples: Sequence[Sample], warm: Sequence[WarmSample] = ()) -> Results:
    names = dict.fromkeys([one.contender for one in samples] + [one.contender for one in warm])
    facts = {
        "date": "2026-01-02", "processor": "a <fast> one", "cpus": 2, "memory_bytes": 8e9, "python": "3.13",
        "rounds": 5, "load_at_begin": 0.0,
    }  # fmt: skip
    sizes = {name: Size(code=100_000_000, models=400_000_000) for name in names}
    return Results(facts, {name: f"about {name}" for name in names}, sizes, list(samples), list(warm))


def whole_run() -> Results:
    seconds = {"ours": 0.5, "ours-pipeline": 0.3, "fastembed": 1.9, "pytorch-int8": 10.0, "floor": 0.25}
    caches: tuple[Cache, ...] = ("warm", "cold")
    samples = [
        sample(name, embed * factor, cache=cache)
        for name, embed in seconds.items()
        for cache in caches
        for factor in (0.9, 1.0, 3.0)
    ]
    warm = [
        WarmSample("ours", 0.02, 0.06, 1.5, 13.0, 13.0),
        WarmSample("ours-fp32", 0.05, 0.2, 4.0, 5.0, 5.0),
        WarmSample("fastembed", 0.02, 0.06, 1.7, 4.0, 10.0, 1),
    ]
    return run(samples, warm)


def test_a_summary_is_the_median_and_the_extremes_of_what_was_measured() -> None:
    assert summarize([3.0, None, 1.0, 10.0]) == Summary(3.0, 1.0, 10.0, 3)
    assert summarize([None]) is None
    assert ratio(summarize([6.0]), summarize([2.0])) == 3.0
    assert ratio(None, summarize([2.0])) is None
    assert ratio(summarize([1.0]), summarize([0.0])) is None


def test_targets_come_from_the_medians_of_the_run() -> None:
    found = [(target.found, target.verdict) for target in compute_targets(whole_run())]
    assert found == [
        ("20.00x", "met"),
        ("3.80x", "missed"),
        ("2.00x", "met"),
        ("280.0 MB", "met"),
        ("130.0 MB", "missed"),
        ("45.0%", "met"),
        ("45.0%", "missed"),
        ("1.20x", "met"),
        ("2.60x", "met"),
        ("3.25x", "met"),
        ("1.30x", "missed"),
    ]


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    assert {target.verdict for target in compute_targets(run([]))} == {"not measured"}


def test_targets_are_judged_on_the_most_cpus() -> None:
    one_cpu = [sample("ours", 9.0, cpus=1), sample("floor", 0.25, cpus=1)]
    targets = compute_targets(run([*one_cpu, sample("ours", 0.5), sample("floor", 0.25)]))
    assert targets[2].value == 2.0


def test_a_cold_start_whose_files_stayed_cached_says_nothing_about_bytes() -> None:
    stayed = replace(sample("ours", 0.5, cache="cold"), residue=4096, models_read=0)
    tainted = run([stayed])
    assert compute_targets(tainted)[5].verdict == "not measured"
    assert "could not all be evicted" in terminal.report(tainted)


@pytest.mark.parametrize(
    ("value", "minimum", "met"), [(2.0, True, True), (1.9, True, False), (2.0, False, True)]
)
def test_a_limit_itself_is_within_it(value: float, minimum: bool, met: bool) -> None:
    assert Target("figure", value, 2.0, minimum, "x").met is met


def test_json_gives_back_the_run(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "run.json"
    results.write(whole_run(), path)
    assert results.read(path) == whole_run()


@pytest.mark.parametrize("content", ["[]", '{"schema": 0}'])
def test_other_json_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match="no benchmark results"):
        results.read(path)


class Page(html.parser.HTMLParser):
    """Remembers tags and attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]


def test_the_page_needs_nothing_beside_itself() -> None:
    text = render(whole_run())
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not {"src", "href", "srcset"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import|@font-face", text)


def test_the_page_has_every_chart_and_escapes_what_it_shows() -> None:
    text = render(whole_run())
    page = Page(text)
    assert page.tags.count("svg") == 6
    assert all(value for name, value in page.attributes if name == "aria-label")
    assert "&lt;new&gt; &amp; phase" in text
    assert "<new>" not in text
    assert "<fast>" not in text


def test_charts_are_well_formed() -> None:
    drawings = re.findall(r"<svg.*?</svg>", render(whole_run()), re.DOTALL)
    assert len(drawings) == 6
    for one in drawings:
        ElementTree.fromstring(one)


@pytest.mark.parametrize("measured", [run([]), run([sample("ours", 0.5)]), run([sample("floor", 0.2)])])
def test_a_partial_run_is_shown_too(measured: Results) -> None:
    assert render(measured).startswith("<!doctype html>")
    assert "Targets" in terminal.report(measured)


def test_a_bar_is_never_invisible_and_stays_inside() -> None:
    rows = [Row("a", [Segment(0, 100, "init", "")]), Row("b", [Segment(0, 0.001, "init", "")])]
    widths = [float(found) for found in re.findall(r'<rect[^>]*? width="([\d.]+)"', chart("c", rows, "s"))]
    assert widths == [660.0, 1.0]


@pytest.mark.parametrize("longest", [0.07, 0.5, 1, 3.3, 26, 1050, 9_999])
def test_axes_have_a_few_round_ticks(longest: float) -> None:
    assert 3 <= longest / tick_step(longest) <= 8


def test_tables_align() -> None:
    lines = table([["name", "x"], ["a", "1.00"]]).splitlines()
    assert lines == ["name     x", "----  ----", "a     1.00"]


def test_progress_off_a_terminal_is_ten_lines_at_most() -> None:
    stream = io.StringIO()
    progress = Progress(100, stream)
    for number in range(100):
        progress.begin(f"step {number}")
        progress.advance()
    assert len(stream.getvalue().splitlines()) == 10


def test_texts_are_the_same_in_every_run_and_of_mixed_lengths() -> None:
    texts = workload.mixed_texts(40)
    assert texts == workload.mixed_texts(40)
    lengths = sorted(len(text.split()) for text in texts)
    assert len(texts) == 40
    assert lengths[0] <= 20
    assert lengths[-1] >= 400
    assert len(workload.of_tokens(128).split()) == 124


def test_events_are_what_api_gateway_sends() -> None:
    event = workload.embed_event(["a", "b"])
    assert json.loads(event["body"])["input"] == ["a", "b"]
    assert event["requestContext"]["http"]["path"] == event["rawPath"] == "/v1/embeddings"
    assert event["headers"]["content-length"] == str(len(event["body"]))
    assert workload.rerank_event("q", ["d"])["rawPath"] == "/v1/rerank"


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (workload.embed_event(["a"]), {"body": json.dumps({"data": [{"embedding": [0.0] * 768}]})}),
        (workload.rerank_event("q", ["a"]), {"body": json.dumps({"results": [{"index": 0}]})}),
        (workload.direct_embed_event(["a"]), {"embeddings": [[0.0] * 768]}),
    ],
)
def test_only_whole_answers_count(event: workload.Event, answer: dict[str, object]) -> None:
    workload.check_response(event, answer)
    for wrong in ({"errorMessage": "no"}, {"body": "no json"}, {"body": '{"data": []}'}):
        with pytest.raises(workload.WrongResponseError):
            workload.check_response(event, wrong)


def test_contenders_are_told_apart_and_made_from_what_there_is() -> None:
    everyone = [*CONTENDERS, OURS_FP32, *quick.contenders()[0], *quick.contenders()[1]]
    assert len({one.name for one in CONTENDERS}) == len(CONTENDERS)
    assert {name for one in everyone for name in one.artefacts} <= set(NEEDS)
    for one in everyone:
        module = Path(*one.handler.split(".")[:-1]).with_suffix(".py")
        assert (Path(__file__).parents[2] / module).is_file()


def test_artefacts_are_keyed_by_what_they_are_made_from() -> None:
    assert len({key(name) for name in NEEDS}) == len(NEEDS)


def test_quick_fails_on_what_is_missing_or_out_of_range() -> None:
    margins = {check.figure: check for check in quick.judge(quick_run(ours=0.5))}
    assert all(check.passed for check in margins.values())
    slow = [check.figure for check in quick.judge(quick_run(ours=1.5)) if not check.passed]
    assert slow == ["ours / floor, first embed", "ort-plain / ours, first embed"]
    assert not quick.Check("nothing", None).passed


def quick_run(ours: float) -> Results:
    seconds = {"ours": ours, "ours-pipeline": 0.3, "ort-plain": 1.0, "floor": 0.25}
    warm = [WarmSample("ours", 1, 1, None, 13, 13), WarmSample("ours-fp32", 1, 1, None, 5, 5)]
    return run([sample(name, embed) for name, embed in seconds.items()], warm)


def test_things_are_made_once_and_again_when_their_sources_change(tmp_path: Path) -> None:
    target, made = tmp_path / "thing", []

    def make(directory: Path) -> None:
        made.append(list(directory.iterdir()))
        (directory / "file").touch()

    assert make_once(target, digest("a"), make)
    assert not make_once(target, digest("a"), make)
    assert make_once(target, digest("b"), make)
    assert made == [[], []]
    assert is_made(target, digest("b"))
    seconds = seconds_to_make(target)
    assert seconds is not None
    assert 0 <= seconds < 60
    assert seconds_to_make(tmp_path / "another") is None


def test_what_was_left_half_made_is_made_again(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_once(tmp_path / "thing", "key", fail)
    assert make_once(tmp_path / "thing", "key", lambda directory: None)
    assert not (tmp_path / "thing" / "half").exists()


@pytest.fixture
def layered_docker(tmp_path: Path) -> tuple[str, Path]:
    """A Docker client that knows one image, and where its layers are."""
    layers = tmp_path / "layers"
    for part in ("code/var/task", "models/var/task/models", "dependencies/opt/venv", "base/usr"):
        (layers / part).mkdir(parents=True)
    data = {
        "UpperDir": str(layers / "code"),
        "LowerDir": ":".join(str(layers / name) for name in ("models", "dependencies", "base")),
    }
    details = [{"GraphDriver": {"Name": "overlay2", "Data": data}, "Config": {"Labels": {"a": "b"}}}]
    (tmp_path / "details.json").write_text(json.dumps(details), encoding="utf-8")
    client = tmp_path / "docker"
    client.write_text(f'#!/bin/sh\n[ "$1 $2" = "image inspect" ] || exit 0\ncat {tmp_path}/details.json\n')
    client.chmod(0o755)
    return str(client), layers


def test_the_layers_of_an_image_are_its_own_or_its_bases(layered_docker: tuple[str, Path]) -> None:
    docker, layers = layered_docker
    own, base = images.layer_directories(docker, "image")
    assert own == [layers / "code", layers / "models", layers / "dependencies"]
    assert base == [layers / "base"]


def test_the_models_of_an_image_do_not_count_as_code(
    layered_docker: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER", layered_docker[0])
    layers = layered_docker[1]
    model, code = layers / "models/var/task/models/model.bin", layers / "code/var/task/handler.py"
    for path in (model, code, layers / "base/usr/python3"):
        path.touch()
    contender = next(one for one in CONTENDERS if one.contained)
    assert files_of(contender) == ([model.resolve()], [code.resolve()])
    assert contender.interpreter_files() == [(layers / "base/usr/python3").resolve()]


def test_layers_that_are_kept_otherwise_are_refused(layered_docker: tuple[str, Path], tmp_path: Path) -> None:
    (tmp_path / "details.json").write_text('[{"GraphDriver": {"Name": "overlayfs"}}]', encoding="utf-8")
    with pytest.raises(ImageError, match="overlayfs: files are only found in overlay2"):
        images.layer_directories(layered_docker[0], "image")


def test_an_image_is_built_again_when_what_it_is_made_of_has_changed(
    layered_docker: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    monkeypatch.setenv("DOCKER", layered_docker[0])
    monkeypatch.setattr(images, "build", lambda name, docker: built.append(name))
    images.ensure("unbundled")
    assert built == ["unbundled"]
    details = json.loads((tmp_path / "details.json").read_bytes())
    details[0]["Config"]["Labels"][images.MADE_FROM] = images.made_from("unbundled")
    (tmp_path / "details.json").write_text(json.dumps(details), encoding="utf-8")
    images.ensure("unbundled")
    assert built == ["unbundled"]


def test_the_image_competes_where_it_can_be_run(
    layered_docker: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("DOCKER", layered_docker[0])
    assert coldstart.default_contenders() == [one.name for one in CONTENDERS]
    monkeypatch.setenv("DOCKER", "no-such-docker")
    assert coldstart.default_contenders() == [one.name for one in CONTENDERS if one.name != "ours-image"]
    assert "left out: ours-image (no no-such-docker here" in capsys.readouterr().err
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "ours-image" not in coldstart.default_contenders()
    assert "only root" in capsys.readouterr().err


linux = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="asks Linux")


@linux
def test_pages_are_counted_and_evicted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_001))
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "empty").touch()
    files = pagecache.files_below([tmp_path, path])
    assert sorted(file.name for file in files) == ["empty", "file"]
    assert pagecache.resident_bytes(files) == pagecache.total_bytes(files) == 1_000_001
    stayed = pagecache.evict(files)
    assert stayed == pagecache.resident_bytes(files)
    # Some file systems (tmpfs) live in the page cache; none may report more than there is.
    assert stayed in (0, 1_000_001)


@linux
def test_usage_of_a_process_is_what_the_kernel_says() -> None:
    found = usage(os.getpid())
    assert 0 < found.anonymous < found.resident <= found.peak * 1.1
    assert found.cpu_seconds > 0
