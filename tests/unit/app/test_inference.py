"""Tokenizing looks at the time before each part, with what the part takes at most, and while it goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lambda_app.bundle import Bundle
from lambda_app.errors import DeadlineError
from lambda_app.models.inference import (
    CHARACTERS_AT_ONCE,
    SECONDS_PER_ASCII,
    SECONDS_PER_CHARACTER,
    TokenizingEstimate,
    encode_in_parts,
    in_parts,
)
from lambda_app.models.reranker import Reranker
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Encoding, Tokenizer
from tests.support.tokenizers_factory import SPECIFICATIONS, build

MANY = 200_000
# What normalization, splitting or the search take longest for, a text of each.
HOSTILE = {
    "one word": "x" * MANY,
    "punctuation": "!" * MANY,
    "18 characters each": "\ufdfa" * MANY,
    "6 characters each": "\u3316" * MANY,
    "ideographs": "".join(chr(0x4E00 + place % 20_000) for place in range(MANY)),
    "emoji": "\U0001f600" * MANY,
    "combining marks": "a" + "\u0301" * (MANY - 1),
}
DONE = Encoding([1], [0], False)


@pytest.mark.parametrize(
    ("lengths", "parts"),
    [
        ([], []),
        ([10, 20], [2]),
        ([CHARACTERS_AT_ONCE, 1], [1, 1]),
        ([1, CHARACTERS_AT_ONCE - 1, 1], [2, 1]),
        ([1, 3 * CHARACTERS_AT_ONCE, 1], [1, 1, 1]),
    ],
)
def test_parts_are_small_but_for_a_long_text(lengths: list[int], parts: list[int]) -> None:
    texts = ["x" * length for length in lengths]
    found = list(in_parts(texts))
    assert [len(part) for part in found] == parts
    assert [text for part in found for text in part] == texts


def test_each_part_says_how_long_it_takes_at_most() -> None:
    asked: list[float] = []
    texts = ["x" * CHARACTERS_AT_ONCE, "é" * 100]
    encodings = encode_in_parts(
        lambda part: [DONE] * len(part),
        texts,
        TokenizingEstimate(),
        lambda done, seconds=0.0: asked.append(seconds),
    )
    assert len(encodings) == 2
    assert asked == pytest.approx([CHARACTERS_AT_ONCE * SECONDS_PER_ASCII, 100 * SECONDS_PER_CHARACTER])


def test_a_slow_cpu_is_learned_and_a_frozen_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    estimate = TokenizingEstimate()
    text = "x" * CHARACTERS_AT_ONCE
    expected = estimate.seconds([text])
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def run(seconds: float, texts: Sequence[str]) -> float:
        def work(_: Sequence[str]) -> None:
            now[0] += seconds

        estimate.run(work, texts, lambda done, seconds=0.0: None)
        return estimate.seconds([text])

    assert run(2 * expected, [text]) == pytest.approx(2 * expected)
    assert run(60.0, ["x"]) == pytest.approx(2 * expected)
    assert run(3_600.0, [text]) == pytest.approx(estimate.MAX_RATIO * expected)
    assert run(expected / 10, [text]) == pytest.approx(expected)


@pytest.fixture(scope="module", params=list(SPECIFICATIONS))
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    directory: Path = tmp_path_factory.mktemp(request.param)
    return load_tokenizer(build(SPECIFICATIONS[request.param](), directory)[1])


@pytest.mark.parametrize("name", HOSTILE)
def test_the_slowest_characters_take_what_is_expected(tokenizer: Tokenizer, name: str) -> None:
    text = HOSTILE[name]
    estimate = TokenizingEstimate()
    # Where a search is long, it looks at the time by itself.
    ticks = [time.monotonic()]
    tokenizer.encode_batch([text], 512, truncation_side="left", tick=lambda: ticks.append(time.monotonic()))
    ticks.append(time.monotonic())
    longest = max(later - earlier for earlier, later in pairwise(ticks))
    print(
        f"{name}: {1e6 * longest / MANY:.2f} µs for a character, of {1e6 * estimate.seconds([text]) / MANY}"
    )
    assert longest < estimate.MAX_RATIO * estimate.seconds([text])


def test_a_long_search_can_be_stopped(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.reranker is not None
    tokenizer = load_tokenizer(tiny_bundle.reranker)
    calls = []

    def tick() -> None:
        calls.append(time.monotonic())
        if len(calls) == 5:
            raise TimeoutError

    for text in ("\u3316" * MANY, " ".join(f"w{number}é" for number in range(30_000))):
        calls.clear()
        with pytest.raises(TimeoutError):
            tokenizer.ids([text], tick=tick)


def test_the_query_is_tokenized_once(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tiny_bundle.reranker is not None
    reranker = Reranker.open(tiny_bundle.reranker, threads=1)
    texts: list[str] = []
    backend = reranker._tokenizer._backend

    def counting(some: Sequence[str], *arguments: Any) -> list[list[int]]:
        texts.extend(some)
        return backend(some, *arguments)

    monkeypatch.setattr(reranker._tokenizer, "_backend", counting)
    documents = ["d " * (CHARACTERS_AT_ONCE // 2)] * 4
    whole = reranker.score("the query", documents)
    texts.clear()
    parts = reranker.score("the query", documents, checkpoint=lambda done, seconds=0.0: None)
    assert texts == ["the query", *documents]
    assert (parts.logits == whole.logits).all()


def test_no_time_for_the_query_stops_before_it(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.reranker is not None
    reranker = Reranker.open(tiny_bundle.reranker, threads=1)

    def late(done: int, seconds: float = 0.0) -> None:
        if seconds > 0.1:
            raise DeadlineError("late", done=0, total=1)

    with pytest.raises(DeadlineError):
        reranker.score("\ufdfa" * MANY, ["a"], checkpoint=late)
