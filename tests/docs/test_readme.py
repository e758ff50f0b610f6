"""What the README tells a user to run is run, and what it lists is what there is."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from lambda_app.api.http.auth import is_known
from lambda_app.settings import Settings
from scripts.local.rie import Emulator
from scripts.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOLERANCE = 0.02
ADDRESS = "localhost:8000"


class Snippet(NamedTuple):
    """A fenced block; ``answer`` is the JSON block right after it."""

    language: str
    text: str
    answer: str | None


def snippets(language: str) -> list[Snippet]:
    found = list(FENCE.finditer(README))
    result = []
    for match, following in zip(found, [*found[1:], None], strict=True):
        follows = following is not None and following.start() == match.end() + 1 and following[1] == "json"
        if match[1] == language:
            result.append(Snippet(match[1], match[2], following[2] if following and follows else None))
    return result


def commands(first_word: str) -> list[str]:
    """Commands of the shell blocks that begin with a word, continued lines joined by their quotes."""
    lines = [line for snippet in snippets("bash") for line in snippet.text.splitlines()]
    return [line for line in lines if line.split(" ")[0] == first_word]


CURLS = [snippet for snippet in snippets("bash") if snippet.text.startswith("curl")]


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[str]:
    """Address of the function as ``make serve`` runs it."""
    environment = {**os.environ, "MODEL_DIR": str(minilm)}
    command = [sys.executable, "-m", "scripts.local.serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout or ())
            address = next(match[1] for line in lines if (match := re.search(r"http://(\S+)", line)))
            yield address
        finally:
            process.terminate()
            told, _ = process.communicate(timeout=30)
    assert told.endswith("stopped\n")
    assert process.returncode == 0


def test_every_shell_line_has_its_test() -> None:
    known = {"make", "curl", ".venv/bin/python", "python3"}
    for snippet in snippets("bash"):
        assert snippet in CURLS or {line.split(" ")[0] for line in snippet.text.splitlines()} <= known


@pytest.mark.parametrize("command", commands("make"))
def test_make_targets_exist_and_are_listed(command: str) -> None:
    target = command.split(" ")[1]
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"make {target} " in listed


@pytest.mark.minilm
@pytest.mark.parametrize("command", commands(".venv/bin/python"))
def test_commands_run(command: str, minilm: Path) -> None:
    arguments = [str(minilm) if word == "models" else word for word in command.split(" ")[1:]]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("command", commands("python3"))
def test_keys_are_made_as_the_function_reads_them(command: str) -> None:
    made = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True).stdout
    key, digest = made.split()
    assert is_known(key, Settings.from_env({"API_KEYS_SHA256": digest}).api_keys)


@pytest.mark.minilm
@pytest.mark.parametrize("snippet", CURLS, ids=lambda snippet: snippet.text.split(" ")[2])
def test_curl_examples(server: str, snippet: Snippet) -> None:
    assert snippet.answer is not None
    result = subprocess.run(
        ["bash", "-c", snippet.text.replace(ADDRESS, server)], capture_output=True, text=True, check=True
    )
    assert_like(json.loads(result.stdout), json.loads(snippet.answer))


def assert_like(found: Any, shown: Any) -> None:
    """Equal, but for the last digits of numbers and for what "..." leaves out of a list."""
    if isinstance(shown, dict):
        assert found.keys() == shown.keys()
        for name, value in shown.items():
            assert_like(found[name], value)
    elif isinstance(shown, list):
        cut = bool(shown) and shown[-1] == "..."
        assert len(found) == len(shown) or (cut and len(found) > len(shown))
        for left, right in zip(found, shown[:-1] if cut else shown, strict=not cut):
            assert_like(left, right)
    elif shown == "...":
        assert isinstance(found, str)
    elif isinstance(shown, float):
        assert found == pytest.approx(shown, abs=TOLERANCE)
    else:
        assert found == shown


def python_snippets(word: str) -> list[Snippet]:
    return [snippet for snippet in snippets("python") if word in snippet.text]


def test_every_python_snippet_has_its_test() -> None:
    assert len(python_snippets(ADDRESS)) + len(python_snippets("boto3")) == len(snippets("python"))


@pytest.mark.minilm
@pytest.mark.parametrize("snippet", python_snippets(ADDRESS))
def test_python_over_http(server: str, snippet: Snippet) -> None:
    code = snippet.text.replace(ADDRESS, server)
    subprocess.run([sys.executable, "-W", "ignore::ResourceWarning", "-c", code], check=True)


@pytest.mark.minilm
@pytest.mark.emulator
@pytest.mark.parametrize("snippet", python_snippets("boto3"))
def test_direct_invocation(emulator: Emulator, snippet: Snippet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator answers in Lambda's place: its client's invoke has the same arguments and answer."""

    class Client:
        def invoke(self, *, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
            return {"StatusCode": 200, "Payload": io.BytesIO(emulator.post(Payload.encode()))}

    boto3 = ModuleType("boto3")
    monkeypatch.setattr(boto3, "client", lambda service: Client(), raising=False)
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    exec(compile(snippet.text, "README.md", "exec"), {})


def first_cells(heading: str) -> list[str]:
    """First cells of the table under a heading, without their backticks."""
    section = README.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    return [row.split("`")[1] for row in rows]


def test_the_error_table_is_complete() -> None:
    codes: set[object] = set()
    for path in (ROOT / "lambda_app").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            # As a class's own code, and as an argument that overrides it.
            named = isinstance(node, ast.keyword) and node.arg == "code"
            if isinstance(node, ast.Assign):
                named = any(isinstance(target, ast.Name) and target.id == "code" for target in node.targets)
            if named and isinstance(value := getattr(node, "value", None), ast.Constant):
                codes.add(value.value)
    assert set(first_cells("Errors")) == codes


def test_the_configuration_table_is_complete() -> None:
    source = (ROOT / "lambda_app" / "settings.py").read_text(encoding="utf-8")
    strings = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    variables = {
        value for value in strings if isinstance(value, str) and re.fullmatch("[A-Z]+(_[A-Z0-9]+)*", value)
    }
    levels = {"DEBUG", "INFO", "WARNING", "ERROR", "TRACE", "WARN", "FATAL", "CRITICAL"}
    lambdas_own = {
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
    }
    assert sorted(first_cells("Configuration")) == sorted(variables - levels - lambdas_own)
    assert {name for name in lambdas_own if name not in README} == set()


PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/ARCHITECTURE.md",
    "docs/BULK.md",
    "docs/RELIABILITY.md",
    "docs/CLIENTS.md",
    "docs/DEPLOY.md",
)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
