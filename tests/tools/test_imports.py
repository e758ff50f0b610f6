"""What the benchmark of imports reads out of the interpreter's trace, and the table that it makes."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks import imports
from benchmarks.imports import Cost, Import

# As `python -X importtime` writes it: a module after those that it imported.
TRACE = """\
import time: self [us] | cumulative | imported package
import time:       100 |        100 | zlib
import time:      1000 |       1000 |     html.entities
import time:       200 |       1200 |   html
import time:      3000 |       4200 | starlette
a warning in between
import time:       500 |        500 |   starlette.types
import time:       250 |       1250 |     re
import time:      7000 |       8000 |   fastapi.routing
import time:       600 |      10000 | fastapi
"""


def test_modules_of_the_standard_library_belong_to_the_package_that_imported_them() -> None:
    assert {(one.name, one.milliseconds, one.owner) for one in imports.read(TRACE)} == {
        ("zlib", 0.1, "the interpreter"),
        ("html.entities", 1.0, "starlette"),
        ("html", 0.2, "starlette"),
        ("starlette", 3.0, "starlette"),
        ("starlette.types", 0.5, "starlette"),
        ("re", 0.25, "fastapi"),
        ("fastapi.routing", 7.0, "fastapi"),
        ("fastapi", 0.6, "fastapi"),
    }


def test_costs_are_medians_over_runs_with_the_dearest_package_first() -> None:
    def run(slow: float) -> list[Import]:
        return [Import("small", 1.0, "small"), Import("big.part", slow, "big"), Import("re", 2.0, "big")]

    found = imports.costs([run(5.0), run(90.0), run(6.0)])
    assert list(found) == ["big", "small"]
    assert found["big"] == Cost(modules=1, own=6.0, standard=2.0, heaviest=[("big.part", 6.0), ("re", 2.0)])


def test_packages_below_the_bound_share_a_row_and_the_last_row_has_all() -> None:
    found = {
        "big": Cost(2, 6.0, 2.0, [("big.part", 6.0), ("re", 2.0)]),
        "a": Cost(1, 0.25, 0.0, [("a", 0.25)]),
        "b": Cost(1, 0.5, 0.0, [("b", 0.5)]),
    }
    rows = [line.split() for line in imports.report(found, bound=1.0, each=1).splitlines()]
    assert rows[2:] == [
        ["big", "2", "6.0", "2.0", "big.part", "6.0"],
        ["2", "others", "2", "0.8", "0.0"],
        ["all", "4", "6.8", "2.0"],
    ]


def test_a_start_is_traced_with_the_modules_of_the_pack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, Any] = {}

    def run(command: list[str], **options: object) -> object:
        given.update(options, command=command)
        return type("Done", (), {"stderr": TRACE})

    monkeypatch.setattr(subprocess, "run", run)
    assert imports.trace_start(tmp_path / "bundle", tmp_path / "pack", 0) == TRACE
    assert given["command"][1:3] == ["-X", "importtime"]
    assert given["env"]["IMPORT_PACK"] == str(tmp_path / "pack")
