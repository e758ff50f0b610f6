"""Reports of the benchmarks: statistics, targets, tables, charts and the page."""

import html.parser
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from benchmarks.report import results, terminal
from benchmarks.report.charts import Row, Segment, chart
from benchmarks.report.page import render
from benchmarks.report.results import Results
from benchmarks.report.stats import Summary, ratio, summarize
from benchmarks.report.targets import Target, compute_targets
from builder.progress import table
from builder.svg import tick_step
from tests.support.benchmark_runs import run, sample, whole_run


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
        ("2.00x", "missed"),
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
    labels = [value for name, value in page.attributes if name == "aria-label"]
    assert len(labels) == 6
    assert all(labels)
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
