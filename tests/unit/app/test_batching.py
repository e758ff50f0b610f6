"""Batches: every item once, similar lengths together, under the budget."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.models.batching import BATCH_COST, attention_mask, pad, plan_batches

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


def cost(lengths: list[int], batches: list[list[int]]) -> int:
    return sum(BATCH_COST + len(batch) * max(lengths[place] for place in batch) for batch in batches)


@given(st.lists(st.integers(1, 80), min_size=1, max_size=9), st.sampled_from([40, 200, 1_024]))
def test_no_other_plan_costs_less(lengths: list[int], budget: int) -> None:
    order = sorted(range(len(lengths)), key=lambda place: -lengths[place])
    plans = [split(order, cuts) for cuts in itertools.product([False, True], repeat=len(order) - 1)]
    costs = [cost(lengths, plan) for plan in plans if all(fits(lengths, batch, budget) for batch in plan)]
    assert cost(lengths, plan_batches(lengths, budget)) == min(costs)


def fits(lengths: list[int], batch: list[int], budget: int) -> bool:
    return len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= budget


def split(order: list[int], cuts: Sequence[bool]) -> list[list[int]]:
    batches = [[order[0]]]
    for place, cut in zip(order[1:], cuts, strict=True):
        if cut:
            batches.append([])
        batches[-1].append(place)
    return batches


def test_similar_lengths_are_together_and_long_texts_alone() -> None:
    assert plan_batches([12, 11, 12, 10], 1_024) == [[0, 2, 1, 3]]
    assert plan_batches([300, 12, 270, 12], 1_024) == [[0], [2], [1, 3]]
    assert sorted(len(batch) for batch in plan_batches([512] * 3, 1_024)) == [1, 2]


def test_a_thousand_short_texts_are_planned_in_milliseconds() -> None:
    began = time.process_time()
    plan = plan_batches([1 + place % 3 for place in range(2_048)], 1_024)
    assert time.process_time() - began < 0.2
    assert sum(map(len, plan)) == 2_048


def test_padding_and_mask_agree() -> None:
    rows = [[5, 6, 7], [8]]
    assert pad(rows, 1).tolist() == [[5, 6, 7], [8, 1, 1]]
    mask = attention_mask([3, 1])
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert mask.dtype == np.int64
