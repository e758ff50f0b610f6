"""Lines of byte ranges: each begins in one range, and no range reads far behind its end."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from lambda_app.bulk import lines


def blocks(content: bytes, start: int, size: int, read: list[int]) -> Iterator[bytes]:
    for begin in range(start, len(content), size):
        block = content[begin : begin + size]
        read.append(len(block))
        yield block


def lines_of(content: bytes, start: int, end: int, size: int) -> tuple[list[lines.Line], int]:
    read: list[int] = []
    first = lines.first_byte(start, aligned=False)
    found = list(lines.lines_of_range(blocks(content, first, size, read), start, end, aligned=False))
    return found, sum(read)


@pytest.mark.parametrize("seed", range(20))
def test_ranges_that_touch_share_no_line_and_lose_none(seed: int) -> None:
    draw = random.Random(seed)
    content = b"\n".join(b"x" * draw.choice([0, 0, 1, 3, 40]) for _ in range(30)) + draw.choice([b"", b"\n"])
    cuts = sorted(draw.sample(range(1, len(content)), 8))
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        found += lines_of(content, start, end, draw.choice([1, 7, 1000]))[0]
    whole = content.removesuffix(b"\n") if content.endswith(b"\n") else content
    assert [line.content for line in found] == whole.split(b"\n")
    assert [line.next for line in found[:-1]] == [line.offset for line in found[1:]]


def test_a_range_in_the_middle_of_a_long_line_is_not_read_to_the_lines_end() -> None:
    content = b"x" * 100_000 + b"\nnext\n"
    found, read = lines_of(content, 50_000, 50_100, 64)
    assert found == []
    assert read < 300
    # One that ends with the line has the line after it.
    found, _ = lines_of(content, 50_000, 100_003, 64)
    assert [line.content for line in found] == [b"next"]


def test_a_line_that_is_too_long_is_not_read_far_behind_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as an object without a single line end, which each of its parts would read to its end."""
    monkeypatch.setattr(lines, "MAX_LINE_BYTES", 1_000)
    found, read = lines_of(b"x" * 100_000, 0, 500, 64)
    assert [(line.offset, line.content) for line in found] == [(0, None)]
    assert read < 1_300
    # Inside the range, lines behind it are found.
    content = b"x" * 5_000 + b"\nnext"
    found, _ = lines_of(content, 0, len(content), 64)
    assert [(line.offset, line.content) for line in found] == [(0, None), (5_001, b"next")]
