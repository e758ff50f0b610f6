"""docs/DEPLOY.md: its messages are the ones that are written, and what it names is there."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from scripts.paths import ROOT
from tests.support.template import TEMPLATE

PAGE = (ROOT / "docs" / "DEPLOY.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
KINDS = {"bash", "python", "hcl", "function", "template", "aws", "docker"}


def messages(kind: str) -> list[str]:
    return [text.strip() for language, text in BLOCKS if language == kind]


def written(package: str) -> Iterator[re.Pattern[str]]:
    """A pattern for every string that the package's code makes: what is put into it may be anything."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+?"
                    for part in node.values
                ]
                yield re.compile("".join(parts), re.DOTALL)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield re.compile(re.escape(node.value))


@pytest.mark.parametrize("message", messages("function"))
def test_messages_of_the_function(message: str) -> None:
    # A pattern with next to no words of its own would match everything.
    patterns = [pattern for pattern in written("lambda_app") if len(pattern.pattern) > 40]
    assert any(pattern.fullmatch(message) for pattern in patterns)


def test_a_message_that_nobody_writes_is_found() -> None:
    patterns = [pattern for pattern in written("lambda_app") if len(pattern.pattern) > 40]
    assert not any(pattern.fullmatch("no model bundle at /x: ask the administrator") for pattern in patterns)


@pytest.mark.parametrize("message", messages("template"))
def test_messages_of_the_template(message: str) -> None:
    said = [
        assert_["AssertDescription"] for rule in TEMPLATE["Rules"].values() for assert_ in rule["Assertions"]
    ]
    assert message in said


def test_every_block_is_of_a_kind_that_is_checked_or_quoted() -> None:
    assert {language for language, _ in BLOCKS} == KINDS


def test_parameters_are_the_templates() -> None:
    table = PAGE.split("| parameter | default |", 1)[1].split("\n\n", 1)[0]
    listed = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    # The image is told of beside the commands.
    assert listed == TEMPLATE["Parameters"].keys() - {"ImageUri"}
    given = re.findall(r"--parameter-overrides\s+(.*?)(?:`|\n)", PAGE)
    overridden = {name for text in given for name in re.findall(r"\b([A-Z]\w+)=", text)}
    assert overridden
    assert overridden <= TEMPLATE["Parameters"].keys()


def test_defaults_are_the_templates() -> None:
    for name, declared in TEMPLATE["Parameters"].items():
        row = re.search(rf"^\| `{name}` \| `?([^|`]+?)`? \|", PAGE, re.MULTILINE)
        if row:
            assert row[1].strip() == str(declared["Default"])


def test_outputs_that_are_named_exist() -> None:
    for name in ("Url", "ApiArn", "PipelineFunctionArn", "PipelineFunctionName"):
        assert f"`{name}`" in PAGE
        assert name in TEMPLATE["Outputs"]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", PAGE)) | set(
        re.findall(r"^make ([a-z-]+)", PAGE, re.M)
    )
    missing = {target for target in named if f"\n{target}:" not in makefile}
    assert missing == set()


def test_python_is_python() -> None:
    for text in messages("python"):
        compile(text, "docs/DEPLOY.md", "exec")


def test_it_says_what_was_not_run() -> None:
    assert "**not run**" in PAGE
