"""Runs encoded items through a session in batches, and hands the rows back in the caller's order."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from lambda_app.models.batching import attention_mask, pad, plan_batches

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.models.session import Session
    from lambda_app.models.tokenizer.tokenizer import Encoding

# Characters that are tokenized between two looks at the time: some tens of milliseconds.
CHARACTERS_AT_ONCE = 65_536


class Checkpoint(Protocol):
    """Called before each piece of work; raises to stop."""

    def __call__(self, done: int, seconds: float = 0.0) -> None:
        """Takes the number of items done, and the seconds that the piece will take, as far as is known."""
        ...


# Called with the indices of items that are longer than the model takes, before anything is run; may raise.
OnTruncated = Callable[[tuple[int, ...]], None]


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
        padded = len(batch) * lengths[batch[0]]
        if checkpoint is not None:
            checkpoint(done, session.latency.seconds(padded, at_best=done == 0))
        started = time.monotonic()
        output = session.run(_inputs(model, [encodings[index] for index in batch]))
        if rows is None:
            rows = np.empty((len(encodings), *output.shape[1:]), dtype=output.dtype)
        session.latency.add(padded, time.monotonic() - started)
        rows[batch] = output
        done += len(batch)
    if rows is None:
        raise ValueError("no items to run")
    return rows


def encode_in_parts(
    encode: Callable[[Sequence[str]], list[Encoding]], texts: Sequence[str], checkpoint: Checkpoint | None
) -> list[Encoding]:
    """What ``encode`` makes of texts, with a look at the time every :data:`CHARACTERS_AT_ONCE`."""
    if checkpoint is None:
        return encode(texts)
    encodings: list[Encoding] = []
    start = characters = 0
    for end, text in enumerate(texts, 1):
        characters += len(text)
        if characters >= CHARACTERS_AT_ONCE or end == len(texts):
            checkpoint(0)
            encodings += encode(texts[start:end])
            start, characters = end, 0
    return encodings


def warm_up(session: Session, model: ModelInfo, tokens: int = 16) -> None:
    """Runs one inference over ``tokens`` padding tokens.

    It reads every weight, and next to nothing of the lookup tables.
    """
    session.run(
        {
            name: np.full((1, tokens), model.pad_token_id * (name == "input_ids"), np.int64)
            for name in model.inputs
        }
        | {"attention_mask": np.ones((1, tokens), np.int64)}
    )


def _inputs(model: ModelInfo, batch: Sequence[Encoding]) -> dict[str, np.ndarray]:
    arrays = {
        "input_ids": pad([encoding.ids for encoding in batch], model.pad_token_id),
        "attention_mask": attention_mask([len(encoding.ids) for encoding in batch]),
    }
    if "token_type_ids" in model.inputs:
        arrays["token_type_ids"] = pad([encoding.type_ids for encoding in batch], 0)
    return arrays
