"""Batches of similar length under a token budget, planned for speed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# What a batch costs beside its padded tokens, in tokens: 4 to 5 ms where a token takes 0.26 to 0.3
# (e5-base-v2 on two cores, ``python -m benchmarks.batching``).
BATCH_COST = 16
# More texts at once share that cost no better: it is less than half a token of each.
_MAX_TEXTS = 48


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups items into the batches that take least time, each of at most ``budget`` padded tokens.

    A batch costs its padded size (items x longest) and :data:`BATCH_COST`, so that texts are together where
    their lengths are similar enough, and alone where they are long.

    Args:
        lengths: tokens of each item.
        budget: padded tokens that a batch may have; an item longer than it is a batch of its own.

    Returns:
        Lists of item indices, longest items first, so that peak memory is met at the start.
    """
    order = sorted(range(len(lengths)), key=lambda item: -lengths[item])
    # The lowest cost of the items up to each place, and where the last of their batches begins.
    costs, begins = [0], [0]
    for end in range(1, len(order) + 1):
        lowest, begin = costs[end - 1] + lengths[order[end - 1]], end - 1
        for start in range(end - 2, max(end - 1 - _MAX_TEXTS, -1), -1):
            padded = (end - start) * lengths[order[start]]
            if padded > budget:
                break
            if costs[start] + padded < lowest:
                lowest, begin = costs[start] + padded, start
        costs.append(lowest + BATCH_COST)
        begins.append(begin)
    batches: list[list[int]] = []
    end = len(order)
    while end:
        batches.append(order[begins[end] : end])
        end = begins[end]
    return batches[::-1]


def pad(rows: Sequence[Sequence[int]], value: int) -> np.ndarray:
    """Rows of ids as one (batch, longest) int64 array, padded on the right with ``value``."""
    width = max(map(len, rows))
    padded = np.full((len(rows), width), value, dtype=np.int64)
    for row, ids in zip(padded, rows, strict=True):
        row[: len(ids)] = ids
    return padded


def attention_mask(lengths: Sequence[int]) -> np.ndarray:
    """(batch, longest) int64, 1 where there is a token."""
    return (np.arange(max(lengths)) < np.asarray(lengths)[:, None]).astype(np.int64)
