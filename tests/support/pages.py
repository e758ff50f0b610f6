"""Reads the Markdown pages: fenced blocks, tables and links."""

from __future__ import annotations

import re
from typing import NamedTuple

from scripts.paths import ROOT

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Snippet(NamedTuple):
    """A fenced block; ``answer`` is the JSON block right after it."""

    language: str
    text: str
    answer: str | None


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def pages() -> list[str]:
    """All pages of the repository, relative to its root."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in paths)


def snippets(page: str, language: str | None = None) -> list[Snippet]:
    """The fenced blocks of a page, all or those of one language."""
    found = list(_FENCE.finditer(read_page(page)))
    result = []
    for number, match in enumerate(found):
        answer = None
        if number + 1 < len(found):
            following = found[number + 1]
            if following.start() == match.end() + 1 and following[1] == "json":
                answer = following[2]
        if language is None or match[1] == language:
            result.append(Snippet(match[1], match[2], answer))
    return result


def commands(page: str, first_word: str) -> list[str]:
    """The lines of a page's shell blocks that begin with a word."""
    lines = [line for snippet in snippets(page, "bash") for line in snippet.text.splitlines()]
    return [line for line in lines if line.split(" ")[0] == first_word]


def table(page: str, first_heading: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading, as lists of cells.

    Raises:
        AssertionError: if the page has no such table, or more than one.
    """
    found: list[list[list[str]]] = []
    rows: list[list[str]] | None = None
    for line in [*read_page(page).splitlines(), ""]:
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not line.startswith("|"):
            rows = None
        elif rows is not None:
            rows.append(cells)
        elif cells[0] == first_heading:
            rows = []
            found.append(rows)
        else:
            rows = []
    assert len(found) == 1, f"{page} has {len(found)} tables that begin with {first_heading!r}"
    assert set("".join(found[0][0])) <= set("-:"), f"{page}: the table has no line below its headings"
    assert len(found[0]) > 1, f"{page}: the table {first_heading!r} is empty"
    return found[0][1:]


def first_cells(page: str, first_heading: str) -> list[str]:
    """The names in backticks in the first column of a table; a cell may hold several."""
    return [name for row in table(page, first_heading) for name in re.findall(r"`([^`]+)`", row[0])]


def links(page: str) -> list[str]:
    """Targets of the links of a page that lead to files of the repository, anchors included."""
    text = re.sub(r"^```.*?^```$", "", read_page(page), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\((?!https?:)([^)]+)\)", text)


def anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", read_page(page), flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
