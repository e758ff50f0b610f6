"""CONTRIBUTING and the decisions: files exist, commands are those of the Makefile, pages have all parts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.builds import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted(DECISIONS.glob("[0-9]*.md"))
# What is changed often, and which words lead to it.
QUESTIONS = (
    "a Cohere field",
    "the SQS answer",
    "a parity threshold",
    "the rounding of weights",
    "what an image removes",
    "a cold-start phase",
)
SECTIONS = ["Context", "Decision", "What was measured", "What would change it"]


def paths(text: str) -> list[str]:
    """Files and directories of the project that a text names between backticks."""
    return re.findall(r"`([\w.-]+(?:/[\w.-]*)+|[\w-]+\.(?:toml|yaml|md))`", text)


@pytest.mark.parametrize("question", QUESTIONS)
def test_each_question_has_an_answer_that_exists(question: str) -> None:
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| {question} |"))
    found = paths(row)
    assert found
    assert [path for path in found if not (ROOT / path).exists()] == []


def test_files_in_the_recipes_exist() -> None:
    found = set(paths(PAGE))
    assert len(found) > 20
    assert sorted(path for path in found if not (ROOT / path).exists()) == []


def test_make_targets_in_the_recipes_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    called = {word for words in re.findall(r"\bmake ((?:[a-z-]+ ?)+)[`\n\w]", PAGE) for word in words.split()}
    assert {"check", "test", "lock", "bench-quick", "test-image"} <= called
    assert called - targets == set()


def test_modules_in_the_recipes_exist() -> None:
    modules = re.findall(r"python -m ([\w.]+)", PAGE)
    assert modules
    files = [ROOT / (module.replace(".", "/") + ".py") for module in modules if module != "pytest"]
    assert [path for path in files if not path.exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_has_its_parts_and_a_row_in_the_list(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert re.match(rf"# {page.stem[:4]}: \w", text)
    assert [heading for heading in re.findall(r"^## (.+)$", text, re.MULTILINE) if heading in SECTIONS] == (
        SECTIONS
    )
    assert f"]({page.name})" in (DECISIONS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_decision_names_files_that_exist_and_a_command(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [path for path in paths(text) if not (ROOT / path).exists()] == []
    assert "```bash\n" in text
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert (DECISIONS / link).exists(), link


def test_the_map_names_every_module_of_function_and_builder() -> None:
    page = (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8")
    words = set(re.findall(r"\w+", "".join(page.split("```")[1::2])))
    names = {path.stem for package in ("lambda_app", "builder") for path in (ROOT / package).rglob("*.py")}
    assert len(names) > 100
    assert names - words == {"__init__"}
