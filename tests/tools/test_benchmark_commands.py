"""The contenders, and the verdict of the quick benchmark."""

import subprocess
from pathlib import Path

import pytest

from benchmarks import lazy_imports, quick
from benchmarks.harness.artefacts import NEEDS
from benchmarks.harness.contender import CONTENDERS, OURS_FP32
from benchmarks.harness.exit_status import exit_status
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


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (None, 0, ""),
        (ValueError("no such contender"), 1, "benchmark failed: no such contender\n"),
        (subprocess.CalledProcessError(1, ["python", "x"]), 1, "benchmark failed: x could not be made\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_one_line_and_a_status(
    error: BaseException | None, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> int:
        if error is not None:
            raise error
        return 0

    assert exit_status(command, ValueError) == status
    assert capsys.readouterr().err == message


def test_a_failure_of_another_kind_is_a_defect() -> None:
    with pytest.raises(ZeroDivisionError):
        exit_status(lambda: 1 // 0, ValueError)
