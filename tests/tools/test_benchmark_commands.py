"""The contenders, and the verdict of the quick benchmark."""

from pathlib import Path

from benchmarks import lazy_imports, quick
from benchmarks.harness.artefacts import NEEDS
from benchmarks.harness.contender import CONTENDERS, OURS_FP32
from benchmarks.report.results import Results, WarmSample
from tests.support.benchmark_runs import run, sample


def test_contenders_have_different_names_and_made_from_what_there_is() -> None:
    everyone = [*CONTENDERS, OURS_FP32, *quick.contenders()[0], *quick.contenders()[1]]
    assert len({one.name for one in CONTENDERS}) == len(CONTENDERS)
    assert {name for one in everyone for name in one.artefacts} <= set(NEEDS)
    for one in everyone:
        module = Path(*one.handler.split(".")[:-1]).with_suffix(".py")
        assert (Path(__file__).parents[2] / module).is_file()


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


def test_lazy_imports_are_tried_where_the_interpreter_has_them() -> None:
    assert list(lazy_imports.variants((3, 14))) == [lazy_imports.EAGER, lazy_imports.OURS]
    assert list(lazy_imports.variants((3, 15))) == ["as it is", "lazy modules", "lazy imports", "both"]


def test_the_application_of_lazy_imports_responds_in_each_variant() -> None:
    assert lazy_imports.main(["--rounds", "1"]) == 0
