"""README.md: its commands and examples are run, and its tables are what the code says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lambda_app.api.routes import ROUTES
from lambda_app.limits import ALB_RESPONSE_BYTES, LAMBDA_RESPONSE_BYTES, Limits
from scripts.paths import ROOT
from tests.support.json_like import assert_like
from tests.support.local_server import local_server
from tests.support.pages import Snippet, commands, read_page, snippets, table

PAGE = "README.md"
ADDRESS = "localhost:8000"
CURLS = [snippet for snippet in snippets(PAGE, "bash") if snippet.text.startswith("curl")]


@pytest.fixture(scope="module")
def server(minilm: Path) -> Iterator[str]:
    """Address of the function as ``make serve`` runs it."""
    with local_server(minilm) as address:
        yield address


def test_the_table_of_routes_is_that_of_the_application() -> None:
    listed = set(re.findall(r"`(GET|POST) (/[^` ]*)`", read_page(PAGE).partition("| API | routes |")[2]))
    served = {(route.method, re.sub(r"{\w+:path}", "{model}", route.path)) for route in ROUTES}
    # The files of /docs are not for people to ask for.
    assert listed == served - {("GET", "/docs/{name}")}


def test_every_shell_line_has_its_test() -> None:
    known = {"make", "curl", ".venv/bin/python"}
    for snippet in snippets(PAGE, "bash"):
        assert snippet in CURLS or {line.split(" ")[0] for line in snippet.text.splitlines()} <= known


@pytest.mark.parametrize("command", commands(PAGE, "make"))
def test_make_targets_exist_and_are_listed(command: str) -> None:
    target = command.split(" ")[1]
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"make {target} " in listed


@pytest.mark.minilm
@pytest.mark.parametrize("command", commands(PAGE, ".venv/bin/python"))
def test_commands_run(command: str, minilm: Path) -> None:
    arguments = [str(minilm) if word == "models" else word for word in command.split(" ")[1:]]
    result = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.minilm
@pytest.mark.parametrize("snippet", CURLS, ids=lambda snippet: snippet.text.split(" ")[2])
def test_curl_examples(server: str, snippet: Snippet) -> None:
    assert snippet.answer is not None
    result = subprocess.run(
        ["bash", "-c", snippet.text.replace(ADDRESS, server)], capture_output=True, text=True, check=True
    )
    assert_like(json.loads(result.stdout), json.loads(snippet.answer))


@pytest.mark.minilm
@pytest.mark.parametrize("snippet", snippets(PAGE, "python"))
def test_direct_invocation(server: str, snippet: Snippet) -> None:
    assert ADDRESS in snippet.text
    names: dict[str, Any] = {}
    exec(compile(snippet.text.replace(ADDRESS, server), PAGE, "exec"), names)
    assert names["result"]["dimensions"] == 384
    names["client"].close()


def test_the_table_of_limits_is_the_codes() -> None:
    shown = {row[0]: row[1] for row in table(PAGE, "limit")}
    limits = Limits()
    expected = {
        "texts in one embedding request": limits.embed_texts,
        "documents in one rerank request": limits.rerank_documents,
        "events in one list, or messages in one SQS batch": limits.events,
        "characters of one text": limits.text_characters,
        "characters of one request": limits.total_characters,
        "bytes of a response from Lambda": LAMBDA_RESPONSE_BYTES,
        "bytes of a response behind a load balancer": ALB_RESPONSE_BYTES,
    }
    assert {name: shown[name] for name in expected} == {
        name: f"{number:,}" for name, number in expected.items()
    }
    # A new limit gets a row here.
    assert set(Limits._fields) == {
        *(
            "embed_texts",
            "rerank_documents",
            "events",
            "text_characters",
            "total_characters",
            "response_bytes",
        ),
    }


def test_it_ends_after_deploy() -> None:
    text = read_page(PAGE)
    headings = [line[3:] for line in text.splitlines() if line.startswith("## ")]
    assert headings[-1] == "Deploy"
    assert len(text.splitlines()) <= 220


def test_it_says_what_was_not_run() -> None:
    assert "Nothing here was run in AWS" in read_page(PAGE)
    assert "random weights only" in read_page(PAGE)
