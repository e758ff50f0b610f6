"""Tests are found by the name of what they test: the module's, or that of its package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.paths import ROOT

FOLDERS = {"lambda_app": "app", "builder": "builder"}
# From so many branches and loops a module has logic of its own.
LOGIC = 3
BRANCHES = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.BoolOp, ast.comprehension)

# Modules that another test shows, and why.
EXCEPTIONS = {
    "lambda_app.api.routes": ("test_openapi_document", "a table, which every test of a route reads"),
    "lambda_app.coldstart.read_ahead": ("test_weights", "asks the kernel for what weights.py names"),
    "lambda_app.api.parsing.request": ("test_openapi_document", "what is described is what is taken"),
    "lambda_app.api.providers.jina": ("test_openai", "Jina's fields of /v1/embeddings"),
    "lambda_app.api.events.warm_up": ("test_dispatch", "a shape of events, without logic of its own"),
    "lambda_app.api.http.app": ("test_dispatch", "every HTTP event passes through it"),
    "lambda_app.api.providers.rows": ("test_redshift", "what Redshift and Snowflake have in common"),
    "lambda_app.api.events.attributes": ("test_streams", "only DynamoDB's streams are written so"),
    "lambda_app.api.events.sinks": ("test_sqs", "what queues and streams hand results to"),
    "lambda_app.origins": ("test_settings", "only CORS_ALLOW_ORIGINS is read with it"),
    "builder.errors": ("test_cli", "the command line prints them"),
    "builder.model": ("test_pipeline", "a step of the pipeline"),
    "builder.summary": ("test_mixed", "what a build says of a model at its end"),
    "builder.svg": ("test_compare", "only charts are drawn with it"),
}


def modules() -> Iterator[tuple[str, list[str]]]:
    """Each module with logic, and the names that its test file may have: its own, that name's first words, or
    its package's."""
    for package in FOLDERS:
        for path in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            if sum(isinstance(node, BRANCHES) for node in ast.walk(tree)) < LOGIC:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            words = parts[-1].split("_")
            names = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
            yield ".".join(parts), [f"test_{name}" for name in [*names, *parts[1:-1][-1:]]]


def files_of_tests(package: str) -> set[str]:
    """Names of test files, and of the folders that a package's tests have for themselves."""
    root = ROOT / "tests" / "unit" / FOLDERS[package]
    paths = list(root.rglob("test_*.py"))
    return {path.stem for path in paths} | {
        f"test_{path.parent.name}" for path in paths if path.parent != root
    }


@pytest.mark.parametrize(("name", "tests"), [*modules()])
def test_a_module_with_logic_has_a_test_file_of_its_name(name: str, tests: list[str]) -> None:
    found = files_of_tests(name.partition(".")[0])
    if name in EXCEPTIONS:
        assert EXCEPTIONS[name][0] in found
        assert not found & set(tests), "this module needs no exception"
    else:
        assert found & set(tests), f"{name} is tested in none of {tests}"


def test_exceptions_are_modules_with_logic() -> None:
    assert EXCEPTIONS.keys() <= dict(modules()).keys()


def test_test_files_do_not_share_a_name() -> None:
    """One name in one tree is one place to look."""
    paths = [
        path for folder in FOLDERS.values() for path in (ROOT / "tests/unit" / folder).rglob("test_*.py")
    ]
    assert len({(Path(path).relative_to(ROOT / "tests/unit").parts[0], path.stem) for path in paths}) == len(
        paths
    )
