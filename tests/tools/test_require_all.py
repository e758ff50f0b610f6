"""Skipped tests fail where REQUIRE_ALL is set."""

import pytest

TESTS = """
import pytest


def test_passes() -> None:
    pass


@pytest.mark.skipif(True, reason="by its mark")
def test_by_mark() -> None:
    pass


def test_inside() -> None:
    pytest.skip("by its body")


@pytest.fixture
def engine() -> None:
    pytest.skip("by its fixture")


def test_by_fixture(engine: None) -> None:
    pass


@pytest.mark.hardware
def test_of_a_processor() -> None:
    pytest.skip("no such processor")


@pytest.mark.xfail(strict=True)
def test_fails_as_expected() -> None:
    raise ValueError
"""
MODULE = 'import pytest\n\npytest.skip("as a whole", allow_module_level=True)\n'


def run(pytester: pytest.Pytester, source: str) -> pytest.RunResult:
    """Runs pytest on one module of tests, without the project's own configuration."""
    pytester.makeini("[pytest]\nmarkers = hardware: needs a processor\n")
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-ra", "-p", "tests.support.require_all", "-p", "no:cacheprovider")


@pytest.mark.parametrize("value", [None, "", "0"])
def test_skips_are_skips_without_it(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    if value is not None:
        monkeypatch.setenv("REQUIRE_ALL", value)
    result = run(pytester, TESTS)
    result.assert_outcomes(passed=1, skipped=4, xfailed=1)
    assert result.ret == 0


def test_every_skip_fails_with_its_reason(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUIRE_ALL", "1")
    result = run(pytester, TESTS)
    # What is skipped before a test's body counts as an error of its set-up.
    result.assert_outcomes(passed=1, skipped=1, xfailed=1, failed=1, errors=2)
    assert result.ret == 1
    for reason in ("by its mark", "by its body", "by its fixture"):
        result.stdout.fnmatch_lines([f"*{reason} (REQUIRE_ALL is set)*"])


def test_a_module_that_is_skipped_fails(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    assert run(pytester, MODULE).ret == pytest.ExitCode.NO_TESTS_COLLECTED
    monkeypatch.setenv("REQUIRE_ALL", "1")
    result = run(pytester, MODULE)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*as a whole (REQUIRE_ALL is set)*"])
