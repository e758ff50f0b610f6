"""docs/reference/: its tables are complete, and its commands run."""

from __future__ import annotations

import ast
import json
import re
import subprocess

import pytest

from lambda_app.api.events.direct import EmbedEvent, RerankEvent
from lambda_app.api.http.auth import is_known
from lambda_app.bundle.versions import RUNTIME_VERSION_DIFFERS
from lambda_app.settings import Settings
from scripts.paths import ROOT
from tests.support.pages import commands, first_cells, read_page, snippets, table

ERRORS = "docs/reference/errors.md"
CONFIGURATION = "docs/reference/configuration.md"
EVENTS = "docs/reference/events.md"
IMAGE = "docs/reference/image.md"
LAMBDAS_OWN = {
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_LOG_LEVEL",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_MAX_CONCURRENCY",
}


def test_the_error_table_is_complete() -> None:
    # A warning's code, which stands in a constant.
    codes: set[object] = {RUNTIME_VERSION_DIFFERS}
    for path in (ROOT / "lambda_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # As a class's own code, and as an argument that overrides it.
            named = isinstance(node, ast.keyword) and node.arg == "code"
            if isinstance(node, ast.Assign):
                named = any(isinstance(target, ast.Name) and target.id == "code" for target in node.targets)
            if named and isinstance(value := getattr(node, "value", None), ast.Constant):
                codes.add(value.value)
    assert len(codes) > 10
    assert set(first_cells(ERRORS, "code")) == codes


def test_the_configuration_table_is_complete() -> None:
    source = (ROOT / "lambda_app" / "settings.py").read_text(encoding="utf-8")
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    variables = {
        value for value in strings if isinstance(value, str) and re.fullmatch("[A-Z]+(_[A-Z0-9]+)*", value)
    }
    levels = {"DEBUG", "INFO", "WARNING", "ERROR", "TRACE", "WARN", "FATAL", "CRITICAL"}
    assert sorted(first_cells(CONFIGURATION, "variable")) == sorted(variables - levels - LAMBDAS_OWN)
    assert {name for name in LAMBDAS_OWN if name not in read_page(CONFIGURATION)} == set()


@pytest.mark.parametrize("command", commands(CONFIGURATION, "python3"))
def test_keys_are_made_as_the_function_reads_them(command: str) -> None:
    made = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    key, digest = made.split()
    assert is_known(key, Settings.from_env({"API_KEYS_SHA256": digest}).api_keys)


def test_every_example_event_is_listed_and_exists() -> None:
    listed = {name for row in table(EVENTS, "event") for name in re.findall(r"`([\w-]+\.json)`", row[2])}
    assert listed == {path.name for path in (ROOT / "events").glob("*.json")}


@pytest.mark.parametrize("action", ["embed", "rerank", "info", "ping"])
def test_example_events_have_the_fields_that_are_described(action: str) -> None:
    event = json.loads((ROOT / "events" / f"direct-{action}.json").read_text(encoding="utf-8"))
    assert event["action"] == action
    described = set(re.findall(r"[a-z_]+", " ".join(" ".join(row) for row in table(EVENTS, "event"))))
    assert event.keys() <= described | set(first_cells(EVENTS, "field"))


def test_every_optional_field_of_direct_events_is_described() -> None:
    declared = {**EmbedEvent.fields, **RerankEvent.fields}
    optional = {name for name, field in declared.items() if not field.required}
    # What batch.py reads of an event among others.
    assert set(first_cells(EVENTS, "field")) == optional | {"id"}


@pytest.mark.parametrize("command", commands(IMAGE, "make"))
def test_make_targets_exist(command: str) -> None:
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"make {command.split(' ')[1]} " in listed


def test_build_options_are_read_by_the_image_build() -> None:
    """Each option is a variable of the image's build or of the Dockerfile."""
    source = (ROOT / "Dockerfile.lambda").read_text(encoding="utf-8")
    source += "".join(path.read_text(encoding="utf-8") for path in (ROOT / "scripts/image").rglob("*.py"))
    options = first_cells(IMAGE, "option")
    assert "BUNDLE_FROM" in options
    assert [name for name in options if not re.search(rf"\b{name}\b", source)] == []


def test_every_shell_line_has_its_test() -> None:
    lines = [
        line
        for page in (CONFIGURATION, IMAGE)
        for s in snippets(page, "bash")
        for line in [*s.text.splitlines()]
    ]
    assert {line.split(" ")[0] for line in lines} == {"python3", "make", "docker"}
