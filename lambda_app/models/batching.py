"""Batches of similar length under a token budget."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def plan_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Groups items so that no batch's padded size (items x longest) passes ``budget`` tokens.

    Args:
        lengths: tokens of each item.
        budget: padded tokens a batch may have; an item longer than it is a batch of its own.

    Returns:
        Lists of item indices, longest items first, so that peak memory is met at the start.
    """
    batches: list[list[int]] = []
    width = 0
    for index in sorted(range(len(lengths)), key=lambda item: -lengths[item]):
        if not batches or (len(batches[-1]) + 1) * width > budget:
            batches.append([])
            width = lengths[index]
        batches[-1].append(index)
    return batches


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
