"""The checks of a pull request: they exist, are pinned, and cover what pyproject.toml promises."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests.support.builds import ROOT

WORKFLOW: dict[str, Any] = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def make_targets(command: str) -> list[str]:
    """Targets of the ``make`` in a shell command, variables left out."""
    _, called, words = command.partition("make ")
    return [word for word in words.split() if "=" not in word] if called else []


def test_jobs_are_those_of_the_tests() -> None:
    assert set(JOBS) == {"lint", "unit", "coverage", "emulator", "bulk", "clients", "image", "benchmark"}


@pytest.mark.parametrize("name", sorted(JOBS))
def test_each_job_calls_make_targets_that_exist(name: str) -> None:
    called = [target for step in JOBS[name]["steps"] for target in make_targets(step.get("run", ""))]
    assert called
    assert set(called) <= TARGETS


@pytest.mark.parametrize("name", sorted(JOBS))
def test_actions_are_pinned_by_commit(name: str) -> None:
    used = [step["uses"] for step in JOBS[name]["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action)] == []


def test_each_pin_names_its_release() -> None:
    text = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    pinned = re.findall(r"uses: \S+@\S+ *(.*)", text)
    assert pinned
    assert [comment for comment in pinned if not re.fullmatch(r"# v\d+\.\d+\.\d+", comment)] == []


def test_every_supported_python_runs_the_unit_tests() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    bounds = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"])
    assert bounds
    supported = [f"3.{minor}" for minor in range(int(bounds[1]), int(bounds[2]))]
    assert JOBS["unit"]["strategy"]["matrix"]["python"] == supported


def test_skipped_tests_fail() -> None:
    assert WORKFLOW["env"]["REQUIRE_ALL"] == "1"
    assert "\nexport REQUIRE_ALL=1\n" in (ROOT / ".ci/run").read_text(encoding="utf-8")


def test_the_script_calls_make_targets_that_exist() -> None:
    lines = (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines()
    called = [target for line in lines if "step" in line for target in make_targets(line)]
    assert {"test", "test-clients", "demo", "image", "test-image", "bench-lazy-quick", "bench-quick"} <= set(
        called
    )
    assert [target for target in called if target not in TARGETS | {"\\"}] == []


def test_hooks_before_a_commit_are_programs_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]
    programs = [hook["entry"].split()[0] for hook in hooks]
    assert programs == [".venv/bin/ruff", ".venv/bin/ruff", ".venv/bin/mypy"]
    assert all((ROOT / program).exists() for program in programs)


def test_groups_of_updates_name_declared_dependencies() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text(encoding="utf-8"))["updates"]
    (pip,) = (update for update in updates if update["package-ecosystem"] == "pip")
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    patterns = [pattern for group in pip["groups"].values() for pattern in group["patterns"]]
    assert patterns
    assert [pattern for pattern in patterns if f'"{pattern.rstrip("*")}' not in text] == []
