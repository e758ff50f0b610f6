"""What threads do between two operators: ``python -m benchmarks.waiting --bundle models``, under two minutes.

The bundle's embedder, its weights repacked, in one process: each way in turn, in an order that changes.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from builder.progress import table
from lambda_app.bundle import Bundle, ModelInfo

ROUNDS = 12
# Inferences of a round, by the tokens of the one text.
LENGTHS = {16: 10, 128: 3}
IDLE_SECONDS = 0.3
# Threads, and microseconds for which one waits without sleeping.
WAYS = {"sleep": (2, 0), "wait 50 us": (2, 50), "wait 200 us": (2, 200), "one thread": (1, 0)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints medians of times and means of CPU times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args(arguments)
    model = Bundle.open(chosen.bundle).embedding
    if model is None:
        parser.error("the bundle has no embedding model")
    print(table(measure(model, chosen.rounds)))
    return 0


def measure(model: ModelInfo, rounds: int) -> list[list[str]]:
    """Returns the rows of the table, the heading first."""
    sessions = {name: _open(model, *way) for name, way in WAYS.items()}
    wall: dict[tuple[str, int], list[float]] = {(name, n): [] for name in WAYS for n in LENGTHS}
    cpu: dict[tuple[str, int], list[float]] = {(name, n): [] for name in WAYS for n in LENGTHS}
    idle: dict[str, list[float]] = {name: [] for name in WAYS}
    order = list(WAYS)
    for _ in range(rounds):
        random.shuffle(order)
        for name in order:
            session = sessions[name]
            session.run(None, _inputs(model, 16))
            for length, times in LENGTHS.items():
                for _ in range(times):
                    began = time.process_time(), time.perf_counter()
                    session.run(None, _inputs(model, length))
                    cpu[name, length].append(time.process_time() - began[0])
                    wall[name, length].append(time.perf_counter() - began[1])
            began_idle = time.process_time()
            time.sleep(IDLE_SECONDS)
            idle[name].append(time.process_time() - began_idle)
    heading = [
        "threads",
        *(f"1x{n} ms" for n in LENGTHS),
        "CPU ms of 1x16",
        f"CPU ms of {IDLE_SECONDS} s idle",
    ]
    return [
        heading,
        *(
            [
                name,
                *(f"{statistics.median(wall[name, n]) * 1e3:.2f}" for n in LENGTHS),
                f"{statistics.mean(cpu[name, 16]) * 1e3:.2f}",
                f"{statistics.mean(idle[name]) * 1e3:.2f}",
            ]
            for name in WAYS
        ),
    ]


def _inputs(model: ModelInfo, length: int) -> dict[str, np.ndarray]:
    rows = np.arange(min(length, model.max_tokens), dtype=np.int64)[None] % 50 + 5
    known = {"input_ids": rows, "attention_mask": np.ones_like(rows), "token_type_ids": np.zeros_like(rows)}
    return {name: known[name] for name in model.inputs}


def _open(model: ModelInfo, threads: int, microseconds: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(microseconds > 0)))
    options.add_session_config_entry("session.intra_op.spin_duration_us", str(microseconds))
    return ort.InferenceSession(str(model.graph_path), options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    raise SystemExit(main())
