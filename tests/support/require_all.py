"""``REQUIRE_ALL=1`` turns every skipped test into a failed one: nothing is left out unseen.

A test that a machine cannot run is deselected by its marker instead. Tests marked ``hardware`` or ``fuse``
may still be skipped: no package gives a machine another processor or kernel.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

VARIABLE = "REQUIRE_ALL"
EXCUSED = ("hardware", "fuse")


def required() -> bool:
    """Returns whether skipped tests have to fail."""
    return os.environ.get(VARIABLE, "") not in {"", "0"}


def fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns the report of a skip into one of a failure, with the reason of the skip."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{reason} ({VARIABLE} is set)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fails skipped tests; expected failures stay what they are."""
    report = yield
    excused = any(item.get_closest_marker(name) is not None for name in EXCUSED)
    expected = hasattr(report, "wasxfail") or excused
    if report.skipped and required() and not expected:
        fail(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fails modules that are skipped as a whole."""
    report = yield
    if report.skipped and required():
        fail(report)
    return report
