"""docs/DEPLOY.md: its messages are those of the code and the template, and what it names exists."""

from __future__ import annotations

import ast
import re

import pytest

from scripts.paths import ROOT
from tests.support.pages import read_page, snippets, table
from tests.support.template import TEMPLATE

NAME = "docs/DEPLOY.md"
PAGE = read_page(NAME)
KINDS = {"bash", "python", "hcl", "yaml", "function", "template", "aws", "docker"}
ORDER = ["Before you start", "Deploy", "Verify", "Watch", "Update", "Roll back", "CI recipe", "Remove"]


def messages(kind: str) -> list[str]:
    return [snippet.text.strip() for snippet in snippets(NAME, kind)]


def message_patterns(package: str) -> list[re.Pattern[str]]:
    """Patterns of the strings that the package's code makes; what is inserted into them may be anything.

    Those with next to no words of their own are left out: they would match everything.
    """
    patterns = []
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                parts = [
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+?"
                    for part in node.values
                ]
                patterns.append("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                patterns.append(re.escape(node.value))
    return [re.compile(pattern, re.DOTALL) for pattern in patterns if len(pattern) > 40]


@pytest.mark.parametrize("message", messages("function"))
def test_messages_of_the_function(message: str) -> None:
    assert any(pattern.fullmatch(message) for pattern in message_patterns("lambda_app"))


def test_a_message_that_no_code_makes_is_found() -> None:
    message = "no model bundle at /x: ask the administrator"
    assert not any(pattern.fullmatch(message) for pattern in message_patterns("lambda_app"))


@pytest.mark.parametrize("message", messages("template"))
def test_messages_of_the_template(message: str) -> None:
    assertions = [item for rule in TEMPLATE["Rules"].values() for item in rule["Assertions"]]
    assert message in [assertion["AssertDescription"] for assertion in assertions]


def test_every_block_is_of_a_kind_that_is_checked_or_quoted() -> None:
    assert {snippet.language for snippet in snippets(NAME)} == KINDS


def test_it_has_the_order_in_which_one_deploys() -> None:
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)
    assert headings[: len(ORDER)] == ORDER


def parameter_rows() -> dict[str, str]:
    """Default of each parameter in the table; a row may have several of both."""
    rows: dict[str, str] = {}
    for names, defaults, _ in table(NAME, "parameter"):
        parameters = re.findall(r"`(\w+)`", names)
        values = [value.strip().strip("`") for value in defaults.split(",")]
        if len(values) < len(parameters):
            values += [""] * (len(parameters) - len(values))
        rows |= dict(zip(parameters, values, strict=True))
    return rows


def test_parameters_and_defaults_are_the_templates() -> None:
    # The image is described beside the commands.
    declared = {name: p for name, p in TEMPLATE["Parameters"].items() if name != "ImageUri"}
    assert parameter_rows() == {name: str(parameter["Default"]) for name, parameter in declared.items()}


def test_parameters_that_commands_override_exist() -> None:
    given = re.findall(r"--parameter-overrides\s+(.*?)(?:`|\n)", PAGE)
    overridden = {name for text in given for name in re.findall(r"\b([A-Z]\w+)=", text)}
    assert {"AuthMode", "ImageUri"} <= overridden
    assert overridden <= TEMPLATE["Parameters"].keys()


def test_outputs_that_are_named_exist() -> None:
    for name in ("Url", "ApiArn", "PipelineFunctionArn", "PipelineFunctionName"):
        assert f"`{name}`" in PAGE
        assert name in TEMPLATE["Outputs"]
    asked = set(re.findall(r"OutputKey=='(\w+)'", PAGE))
    assert "Url" in asked
    assert asked <= TEMPLATE["Outputs"].keys()


def test_variables_of_commands_are_defined_before_they_are_used() -> None:
    credentials = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    defined: set[str] = set()
    used: set[str] = set()
    for text in messages("bash"):
        for line in text.splitlines():
            defined |= credentials if "aws configure export-credentials --format env" in line else set()
            defined |= set(re.findall(r"^for ([A-Z]+) in ", line))
            here = set(re.findall(r"\$\{?([A-Z_]+)", line))
            assert here <= defined, line
            used |= here
            defined |= set(re.findall(r"^([A-Z]+)=", line))
    assert {"HTTP", "URL", "REGION", "KEY", "REPOSITORY", "PIPELINE"} <= used


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:`|^|run: )(?:\w+=\S+ )*make ([a-z-]+)", PAGE, re.MULTILINE))
    assert {"build", "image", "verify"} <= named
    assert {target for target in named if f"\n{target}:" not in makefile} == set()


def test_it_says_what_was_not_run() -> None:
    assert "**not run**" in PAGE
