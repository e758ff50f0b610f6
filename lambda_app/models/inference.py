"""What embedder and reranker share: texts tokenized in parts, run in batches, in the caller's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol, Self, TypeVar

import numpy as np

from lambda_app.limits import BATCH_TOKENS
from lambda_app.models.batching import BATCH_COST, attention_mask, pad, plan_batches

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.models.session import Session
    from lambda_app.models.tokenizer.tokenizer import Encoding, Token, Tokenizer

T = TypeVar("T")
# Characters that are tokenized between two looks at the time, but for a text that has more.
CHARACTERS_AT_ONCE = 65_536
# The longest that one character of plain ASCII takes to tokenize on one CPU, and any other character: what
# normalization makes of them differs most. Measured by pytest -s tests/unit/app/test_inference.py -k slowest.
SECONDS_PER_ASCII = 1.5e-6
SECONDS_PER_CHARACTER = 4e-6


class Checkpoint(Protocol):
    """Called before each piece of work; raises to stop."""

    def __call__(self, done: int, seconds: float = 0.0) -> None:
        """Takes the number of items done, and the seconds that the piece will take, as far as is known."""
        ...


# Called with the indices of items that are longer than the model takes, before anything is run; may raise.
OnTruncated = Callable[[tuple[int, ...]], None]
# Called with the indices of the items that have no tokens at all, which no model can read; raises.
OnEmpty = Callable[[tuple[int, ...]], NoReturn]
# Called with the number of tokens so far, special ones not counted; may raise to stop.
OnTokens = Callable[[int], None]


def run_encodings(
    session: Session,
    model: ModelInfo,
    encodings: Sequence[Encoding],
    *,
    batch_tokens: int,
    checkpoint: Checkpoint | None = None,
) -> np.ndarray:
    """One output row for each encoding, float32, in the order of ``encodings``.

    Shape is (items, ...) with whatever the graph gives per item. There must be at least one item.
    """
    rows: np.ndarray | None = None
    done = 0
    lengths = [len(encoding.ids) for encoding in encodings]
    session.expect(sum(lengths))
    for batch in plan_batches(lengths, batch_tokens):
        # The longest comes first.
        cost = BATCH_COST + len(batch) * lengths[batch[0]]
        if checkpoint is not None:
            checkpoint(done, session.latency.seconds(cost, at_best=done == 0))
        started = time.monotonic()
        output = session.run(_inputs(model, [encodings[index] for index in batch]))
        if rows is None:
            rows = np.empty((len(encodings), *output.shape[1:]), dtype=output.dtype)
        session.latency.add(cost, time.monotonic() - started)
        rows[batch] = output
        done += len(batch)
    if rows is None:
        raise ValueError("no items to run")
    return rows


class TokenizingEstimate:
    """Estimates how long it takes to tokenize texts, so that none is begun that cannot end in time.

    It goes by the slowest characters there are, and by how much slower than that this CPU was last. A process
    that was frozen meanwhile measures nonsense, which counts for no more than a few times the expected.
    """

    MAX_RATIO = 4.0

    def __init__(self) -> None:
        self._ratio = 1.0

    def seconds(self, texts: Iterable[str]) -> float:
        """Returns the seconds that it takes at most."""
        return self._ratio * sum(map(_expected_seconds, texts))

    def run(
        self, tokenize: Callable[[Sequence[str]], T], texts: Sequence[str], checkpoint: Checkpoint | None
    ) -> T:
        """Returns what ``tokenize`` makes of texts, after a look at the time that they will take."""
        if checkpoint is None:
            return tokenize(texts)
        checkpoint(0, self.seconds(texts))
        started = time.monotonic()
        result = tokenize(texts)
        # Of a few characters the clock says nothing.
        if sum(map(len, texts)) >= CHARACTERS_AT_ONCE // 8:
            expected = sum(map(_expected_seconds, texts))
            self._ratio = min(max(1.0, (time.monotonic() - started) / expected), self.MAX_RATIO)
        return result


def _expected_seconds(text: str) -> float:
    return len(text) * (SECONDS_PER_ASCII if text.isascii() else SECONDS_PER_CHARACTER)


def in_parts(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yields texts in parts of at most :data:`CHARACTERS_AT_ONCE`, a longer text by itself."""
    start = characters = 0
    for place, text in enumerate(texts):
        if place > start and characters + len(text) > CHARACTERS_AT_ONCE:
            yield texts[start:place]
            start, characters = place, 0
        characters += len(text)
    if start < len(texts):
        yield texts[start:]


def encode_in_parts(
    encode: Callable[[Sequence[str]], list[Encoding]],
    texts: Sequence[str],
    estimate: TokenizingEstimate,
    checkpoint: Checkpoint | None,
) -> list[Encoding]:
    """Returns what ``encode`` makes of texts, with a look at the time before each part of them."""
    if checkpoint is None:
        return encode(texts)
    return [encoding for part in in_parts(texts) for encoding in estimate.run(encode, part, checkpoint)]


def refuse_empty(encodings: Iterable[Encoding], on_empty: OnEmpty | None) -> None:
    """Raises if an item has no tokens: the text has none, and the tokenizer adds no special ones.

    Its vector would be all zeros, or a division by zero.

    Raises:
        ValueError: there is no ``on_empty``, which raises an error of its own.
    """
    empty = tuple(index for index, encoding in enumerate(encodings) if not encoding.ids)
    if empty:
        if on_empty is not None:
            on_empty(empty)
        raise ValueError(f"item {empty[0]} has no tokens")


def ticker(checkpoint: Checkpoint | None) -> Callable[[], None] | None:
    """Returns a look at the time that takes no arguments."""
    return None if checkpoint is None else lambda: checkpoint(0)


class TextModel:
    """A model's tokenizer and session: what embedder and reranker have in common."""

    def __init__(
        self, model: ModelInfo, session: Session, tokenizer: Tokenizer, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._session = session
        self._batch_tokens = batch_tokens
        self._estimate = TokenizingEstimate()

    @classmethod
    def open(cls, model: ModelInfo, *, threads: int) -> Self:
        """Opens tokenizer and session of one of the bundle's models.

        Raises:
            BundleError: a file of the model cannot be used.
        """
        from lambda_app.models.session import open_session
        from lambda_app.models.tokenizer import open_tokenizer

        return cls(model, open_session(model, threads=threads), open_tokenizer(model))

    def warm(self, tokens: int = 16) -> None:
        """Runs one short inference, so that the next one meets mapped pages and allocated buffers.

        It reads every weight, and next to nothing of the lookup tables.
        """
        self._session.run(
            {
                name: np.full((1, tokens), self.model.pad_token_id * (name == "input_ids"), np.int64)
                for name in self.model.inputs
            }
            | {"attention_mask": np.ones((1, tokens), np.int64)}
        )

    def _run(
        self,
        encodings: Sequence[Encoding],
        on_truncated: OnTruncated | None,
        on_empty: OnEmpty | None,
        checkpoint: Checkpoint | None,
    ) -> tuple[np.ndarray, int, tuple[int, ...]]:
        """Returns a row for each item, the number of all tokens, and the indices of truncated items."""
        refuse_empty(encodings, on_empty)
        truncated = tuple(index for index, encoding in enumerate(encodings) if encoding.truncated)
        if truncated and on_truncated is not None:
            on_truncated(truncated)
        rows = run_encodings(
            self._session, self.model, encodings, batch_tokens=self._batch_tokens, checkpoint=checkpoint
        )
        return rows, sum(len(encoding.ids) for encoding in encodings), truncated

    def _tokens(
        self,
        texts: Sequence[str],
        special: bool,
        on_tokens: OnTokens | None,
        checkpoint: Checkpoint | None,
    ) -> list[list[Token]]:
        """Returns the tokens of texts, not truncated; with ``special``, those that the model adds too.

        ``on_tokens`` is called after each part of the texts, and all of them are counted before one is named.
        """
        tick = ticker(checkpoint)
        rows: list[list[int]] = []
        count = 0
        for part in in_parts(texts):
            ids = self._estimate.run(lambda some: self._tokenizer.ids(some, tick=tick), part, checkpoint)
            rows += ids
            count += sum(map(len, ids))
            if on_tokens is not None:
                on_tokens(count)
        return self._tokenizer.named(rows, special=special, tick=tick)


def _inputs(model: ModelInfo, batch: Sequence[Encoding]) -> dict[str, np.ndarray]:
    arrays = {
        "input_ids": pad([encoding.ids for encoding in batch], model.pad_token_id),
        "attention_mask": attention_mask([len(encoding.ids) for encoding in batch]),
    }
    if "token_type_ids" in model.inputs:
        arrays["token_type_ids"] = pad([encoding.type_ids for encoding in batch], 0)
    return arrays
