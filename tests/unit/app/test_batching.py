"""Batches: every item once, similar lengths together, under the budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.models.batching import attention_mask, pad, plan_batches

LENGTHS = st.lists(st.integers(1, 600), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 4_096))
def test_every_item_is_in_one_batch_under_the_budget(lengths: list[int], budget: int) -> None:
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[index] for index in batch)
        assert padded <= budget or len(batch) == 1


@given(LENGTHS)
def test_longest_items_come_first(lengths: list[int]) -> None:
    order = [lengths[index] for batch in plan_batches(lengths, 512) for index in batch]
    assert order == sorted(lengths, reverse=True)


def test_padding_and_mask_agree() -> None:
    rows = [[5, 6, 7], [8]]
    assert pad(rows, 1).tolist() == [[5, 6, 7], [8, 1, 1]]
    mask = attention_mask([3, 1])
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert mask.dtype == np.int64
