"""Benchmarks of quantization and batches: that they measure what their tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import activation_passes, batching, same_vector
from benchmarks.ablation import ALL, VARIANTS
from builder.quantization.int8 import Recipe
from lambda_app.models.batching import plan_batches


@pytest.mark.parametrize("name", activation_passes.WAYS)
def test_every_way_of_scaling_computes_the_product(name: str) -> None:
    x = np.random.default_rng(3).normal(scale=0.5, size=(2, 4, 64)).astype(np.float32)
    outputs = activation_passes.session(activation_passes.WAYS[name], *x.shape).run(None, {"x": x})
    weight = np.random.default_rng(1).integers(-64, 64, (64, activation_passes.OUTPUTS), np.int8)
    exact = x.reshape(-1, 64) @ weight
    assert len(outputs) == 1 + ("two products" in name)
    for output in outputs:
        assert np.corrcoef(output.reshape(-1), exact.reshape(-1))[0, 1] > 0.9995


def test_plans_have_every_text_once() -> None:
    lengths = [5, 90, 17, 256, 1, 90]
    for plan in batching.PLANS.values():
        assert sorted(place for batch in plan(lengths) for place in batch) == list(range(len(lengths)))
    assert [len(batch) for batch in batching.as_many_as_fit(lengths, 200)] == [1, 2, 3]
    assert [len(batch) for batch in plan_batches(lengths, 200)] == [1, 2, 1, 2]


def test_the_cosine_is_that_of_a_text_s_two_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    def vectors(_python: str, _library: str, _directory: Path, lists: Any) -> np.ndarray:
        alone = np.array([[1.0, 0.0], [0.0, 1.0]])
        return alone if len(lists) == 2 else np.array([[1.0, 0.0], [0.6, 0.8]])

    monkeypatch.setattr(same_vector, "_vectors", vectors)
    found = same_vector.compare("python", "ours", Path(), ["a", "b"], [["a", "b"]])
    assert found == pytest.approx((0.9, 0.8, 0.6))


def test_the_last_variant_is_the_scheme_itself() -> None:
    assert list(VARIANTS)[-1] == ALL
    assert VARIANTS[ALL] == Recipe()
    assert len({repr(recipe) for recipe in VARIANTS.values()}) == len(VARIANTS)
