"""One word for one thing, and the field's own: in names, comments and docstrings of the whole project."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.paths import ROOT

TREES = ("lambda_app", "builder", "scripts", "benchmarks", "tests")
FILES = sorted(path for tree in TREES for path in (ROOT / tree).rglob("*.py"))
# In parts of names: say max_ and min_, limit or budget, message or details, usage.
NAMES = {"most", "least", "room", "told", "tally", "door", "doors", "roles"}
# A task is embedding or reranker, an input type query or passage. Only scripts/bulk/ makes roles: IAM's.
TASKS = ("lambda_app", "builder", "benchmarks", "tests", "scripts/image", "scripts/local", "scripts/dev")
# In prose: the project's former private words, and figures of speech that a reader has to guess.
PROSE = re.compile(r"\b(doors?|whoever|for nobody|stand-ins?|what is told|is told|are told|tally)\b", re.I)
NOT_PROSE = {"tests/docs/test_pages.py", "tests/unit/test_words.py"}


def names(tree: ast.AST) -> Iterator[str]:
    """Every name that the source gives to something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.id if isinstance(node, ast.Name) else node.attr


def prose(source: str) -> Iterator[str]:
    """Comments and docstrings."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_words_are_the_fields_own(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    place = path.relative_to(ROOT)
    avoided = NAMES | ({"role"} if str(place).startswith(TASKS) else set())
    found = [name for name in names(ast.parse(source)) if avoided & set(name.lower().split("_"))]
    # "At most" and "at least" are plain English.
    found = [name for name in found if not re.search("at_(most|least)|the_most", name)]
    assert found == []
    if str(place) not in NOT_PROSE:
        assert [text for text in prose(source) if PROSE.search(text)] == []
