"""examples/: the complete example runs, and its page shows what it prints."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.paths import ROOT
from tests.support.local_server import local_server
from tests.support.pages import commands, snippets

PAGE = "examples/README.md"


@pytest.mark.minilm
def test_search_prints_what_its_page_shows(minilm: Path) -> None:
    (command,) = commands(PAGE, ".venv/bin/python")
    (shown,) = snippets(PAGE, "text")
    with local_server(minilm) as address:
        arguments = [*shlex.split(command)[1:], "--url", f"http://{address}"]
        found = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout
    printed = [line.split(maxsplit=1) for line in found.splitlines()]
    expected = [line.split(maxsplit=1) for line in shown.text.splitlines()]
    assert [rest for _, rest in printed] == [rest for _, rest in expected]
    # Kernels of other CPUs round in other places.
    assert [float(score) for score, _ in printed] == pytest.approx(
        [float(score) for score, _ in expected], abs=0.005
    )
    assert "mosquitoes" in printed[0][1]


def test_search_without_a_function_says_what_to_start() -> None:
    command = [sys.executable, "examples/search.py", "fever", "--url", "http://127.0.0.1:1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("no response from http://127.0.0.1:1 (")
    assert "make serve" in done.stderr
