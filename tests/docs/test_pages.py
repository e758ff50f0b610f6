"""All pages: links lead somewhere, Python is Python, and the words are plain."""

from __future__ import annotations

import re

import pytest

from scripts.paths import ROOT
from tests.support.pages import anchors, links, pages, read_page, snippets

PAGES = pages()
# The project's former private words, and figures of speech that a reader has to guess.
AVOIDED = re.compile(
    r"\b(doors?|whoever|for nobody|stand-ins?|what is told|is told|are told)\b", re.IGNORECASE
)


def test_pages_are_found() -> None:
    assert {"README.md", "SECURITY.md", "docs/DEPLOY.md", "docs/reference/errors.md"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in links(page):
        target, _, anchor = link.partition("#")
        path = ((ROOT / page).parent / target).resolve() if target else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path.relative_to(ROOT).as_posix())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", sorted({page for page in PAGES if snippets(page, "python")}))
def test_python_is_python(page: str) -> None:
    for snippet in snippets(page, "python"):
        compile(snippet.text, page, "exec")


PLAIN = [page for page in PAGES if page != "CHANGELOG.md" and not page.startswith("docs/decisions/")]


@pytest.mark.parametrize("page", PLAIN)
def test_words_are_plain(page: str) -> None:
    assert AVOIDED.findall(read_page(page)) == []


def test_files_that_pages_name_exist() -> None:
    """Paths in backticks that begin with a directory of the repository."""
    tops = "lambda_app|builder|scripts|benchmarks|tests|docs|events|examples|requirements"
    named = {
        (page, path)
        for page in PAGES
        if page not in {"CHANGELOG.md", "CONTRIBUTING.md"}
        for path in re.findall(rf"`((?:{tops})/[\w./-]+\.\w+)`", read_page(page))
    }
    assert len(named) > 10
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()
