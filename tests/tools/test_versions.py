"""Versions that stand in several files agree: each test names the file that decides."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from lambda_app import __version__
from scripts.dev import bootstrap
from scripts.paths import ROOT

PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT = PYPROJECT["project"]
CONTENDERS = ("fastembed", "optimum", "pytorch")


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def pythons() -> list[str]:
    """Supported Pythons, from ``requires-python``."""
    found = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"])
    assert found is not None
    return [f"3.{minor}" for minor in range(int(found[1]), int(found[2]))]


def only(pattern: str, text: str) -> str:
    """The one thing that a pattern finds, wherever it is found."""
    found = set(re.findall(pattern, text, re.MULTILINE))
    assert len(found) == 1, (pattern, found)
    result: str = found.pop()
    return result


def test_the_projects_version_is_the_functions() -> None:
    assert "version" not in PROJECT
    assert PROJECT["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "lambda_app.__version__"}
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_changelogs_last_release_is_the_functions() -> None:
    headings = re.findall(r"^## (.+)$", read("CHANGELOG.md"), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert re.fullmatch(rf"{re.escape(__version__)} - \d{{4}}-\d\d-\d\d", headings[1])


def test_classifiers_name_the_supported_pythons() -> None:
    prefix = "Programming Language :: Python :: "
    assert [line.removeprefix(prefix) for line in PROJECT["classifiers"] if prefix in line] == pythons()


def test_the_set_up_takes_the_supported_pythons() -> None:
    oldest, newest = bootstrap.supported()
    assert ["{}.{}".format(*oldest), "{}.{}".format(*newest)] == [pythons()[0], pythons()[-1]]


def test_the_makefile_names_the_supported_pythons() -> None:
    assert only(r"^PYTHONS := (\S+)$", read("Makefile")) == f"{pythons()[0]}-{pythons()[-1]}"
    assert only(r"^OLDEST_PYTHON := (\S+)$", read("Makefile")) == pythons()[0]


@pytest.mark.parametrize("page", ["README.md", "docs/DEPLOY.md"])
def test_pages_name_the_supported_pythons(page: str) -> None:
    assert only(r"Python (3\.\d+ to 3\.\d+)", read(page)) == f"{pythons()[0]} to {pythons()[-1]}"


def test_the_workflow_runs_all_supported_pythons() -> None:
    workflow = yaml.safe_load(read(".github/workflows/ci.yml"))
    matrices = [job.get("strategy", {}).get("matrix", {}) for job in workflow["jobs"].values()]
    tested = [matrix["python"] for matrix in matrices if "python" in matrix]
    assert pythons() in tested
    assert all(set(versions) <= set(pythons()) for versions in tested)


def test_tools_check_for_the_oldest_python() -> None:
    assert PYPROJECT["tool"]["mypy"]["python_version"] == pythons()[0]
    assert PYPROJECT["tool"]["ruff"]["target-version"] == "py" + pythons()[0].replace(".", "")


def test_bases_of_the_image_are_supported_and_the_engine_makes_them() -> None:
    engine = read("scripts/dev/engine/base_images.py")
    for argument in ("PYTHON_IMAGE", "BUILD_IMAGE"):
        base = only(rf"^ARG {argument}=(\S+)$", read("Dockerfile.lambda"))
        assert only(r"^python:(3\.\d+)-slim$", base) in pythons()
        assert f'"{base}"' in engine


def test_every_copy_of_torchs_version_is_that_of_the_build() -> None:
    wanted = next(line for line in PROJECT["optional-dependencies"]["build"] if line.startswith("torch=="))
    (override,) = PYPROJECT["tool"]["uv"]["override-dependencies"]
    assert override.partition(" ;")[0] == wanted
    for name in ("requirements/torch.txt", *(f"benchmarks/requirements/{one}.txt" for one in CONTENDERS)):
        found = re.findall(r"^torch==\S+", read(name), re.MULTILINE)
        assert found == [] if name.endswith("fastembed.txt") else found == [wanted], name


@pytest.mark.parametrize("contender", CONTENDERS)
def test_contenders_run_on_the_functions_versions(contender: str) -> None:
    """Another onnxruntime or FastAPI would be what is compared."""
    ours = dict(re.findall(r"^([\w-]+)==([^\s\\;]+)", read("requirements/runtime.txt"), re.MULTILINE))
    theirs = dict(
        re.findall(r"^([\w-]+)==(\S+)", read(f"benchmarks/requirements/{contender}.txt"), re.MULTILINE)
    )
    shared = {"awslambdaric", "fastapi", "mangum", "numpy", "pydantic", "starlette"}
    shared |= {"onnxruntime"} if contender != "pytorch" else set()
    assert {name: theirs[name] for name in shared} == {name: ours[name] for name in shared}


def test_the_emulator_comes_from_the_sam_cli_that_the_tests_run() -> None:
    wanted = only(r"^aws-sam-cli==(\S+)", read("requirements/sam.in"))
    assert only(r"^aws-sam-cli==(\S+)", read("requirements/sam.txt")) == wanted
    assert only(r"^aws-sam-cli==(\S+)", read("requirements/rie.txt")) == wanted
