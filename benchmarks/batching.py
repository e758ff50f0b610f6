"""What a batch costs: ``python -m benchmarks.batching [--bundle models]``.

Milliseconds for each text of so many tokens in batches of so many texts, on repacked weights, and the time
that plans take for texts of mixed lengths: what ``lambda_app/models/batching.py`` is decided by. All cells
are run in turn, round after round; figures are medians.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import lambda_app.models  # noqa: F401  # sets what has to be set before numpy is imported

# isort: split
import numpy as np

from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.cpu import available_cpus
from lambda_app.limits import BATCH_TOKENS
from lambda_app.models.batching import attention_mask, pad, plan_batches
from lambda_app.models.session import Session, open_session

LENGTHS = (8, 16, 32, 64, 128, 256, 512)
SIZES = (1, 2, 4, 8, 16, 32)
Key = TypeVar("Key", bound=Hashable)
Plan = Callable[[Sequence[int]], list[list[int]]]
PLANS: dict[str, Plan] = {
    "as the function plans them": lambda lengths: plan_batches(lengths, BATCH_TOKENS),
    "each text alone": lambda lengths: [[place] for place in range(len(lengths))],
    "as many as fit": lambda lengths: as_many_as_fit(lengths, BATCH_TOKENS),
    **{
        f"as the function plans them, under {budget} tokens": partial(plan_batches, budget=budget)
        for budget in (256, 512, 2048)
    },
}
# Tokens of texts: of sentences, of passages, and of both.
MIXES = {"1 to 40": (1, 40), "40 to 200": (40, 200), "1 to 256": (1, 256)}


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, default=Path("models"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--texts", type=int, default=48, help="texts of mixed lengths")
    options = parser.parse_args()
    model = Bundle.open(options.bundle).embedding
    if model is None:
        raise SystemExit("the bundle has no embedding model")
    session = open_session(model, threads=available_cpus(), prepack=True)
    lengths = [length for length in LENGTHS if length <= model.max_tokens]
    cells = {
        (length, size): texts([length] * size)
        for length in lengths
        for size in SIZES
        if length * size <= 4 * BATCH_TOKENS
    }
    found = times(
        {cell: (rows, [list(range(len(rows)))]) for cell, rows in cells.items()},
        session,
        model,
        options.rounds,
    )
    print(f"{model.id}, {available_cpus()} threads: ms for each text")
    print("| tokens | " + " | ".join(f"{size}" for size in SIZES) + " |")
    print("|---" * (len(SIZES) + 1) + "|")
    for length in lengths:
        row = [found.get((length, size)) for size in SIZES]
        each = ["" if ms is None else f"{ms / size:.2f}" for ms, size in zip(row, SIZES, strict=True)]
        print(f"| {length} | " + " | ".join(each) + " |")
    rng = random.Random(1)
    mixed = {name: [rng.randint(*span) for _ in range(options.texts)] for name, span in MIXES.items()}
    runs = {(plan, name): (texts(some), PLANS[plan](some)) for name, some in mixed.items() for plan in PLANS}
    planned = times(runs, session, model, options.rounds)
    print(f"\nms for {options.texts} texts of mixed lengths, and padded tokens")
    print("| | " + " | ".join(f"{name} tokens" for name in MIXES) + " |\n" + "|---" * (len(MIXES) + 1) + "|")
    for plan in PLANS:
        cells_of = []
        for name, some in mixed.items():
            padded = sum(len(batch) * max(some[place] for place in batch) for batch in runs[plan, name][1])
            cells_of.append(f"{planned[plan, name]:.0f} ({padded})")
        print(f"| {plan} | " + " | ".join(cells_of) + " |")


def as_many_as_fit(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Batches of similar length, each filled up to its budget of padded tokens."""
    batches: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > budget:
            batches.append([])
        batches[-1].append(place)
    return batches


def texts(lengths: Sequence[int]) -> list[list[int]]:
    """Texts of so many tokens; which ones does not matter."""
    rng = random.Random(2)
    return [[rng.randrange(5, 1000) for _ in range(length)] for length in lengths]


def inputs(model: ModelInfo, rows: Sequence[Sequence[int]]) -> dict[str, np.ndarray]:
    """A batch as the graph takes it."""
    arrays = {"input_ids": pad(rows, model.pad_token_id), "attention_mask": attention_mask([*map(len, rows)])}
    if "token_type_ids" in model.inputs:
        arrays["token_type_ids"] = np.zeros_like(arrays["input_ids"])
    return arrays


def times(
    runs: dict[Key, tuple[list[list[int]], list[list[int]]]], session: Session, model: ModelInfo, rounds: int
) -> dict[Key, float]:
    """Returns milliseconds of each run, the median of rounds; a first round counts for nothing."""
    seconds: dict[Key, list[float]] = {key: [] for key in runs}
    for number in range(rounds + 1):
        for key, (rows, plan) in runs.items():
            began = time.perf_counter()
            for batch in plan:
                session.run(inputs(model, [rows[place] for place in batch]))
            if number:
                seconds[key].append(time.perf_counter() - began)
    return {key: 1000 * statistics.median(some) for key, some in seconds.items()}


if __name__ == "__main__":
    main()
