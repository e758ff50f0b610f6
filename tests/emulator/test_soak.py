"""Thousands of mixed requests, one after the other: no wrong answer, one process, and no memory lost.

What answers have to be is worked out before, by another process's copy of the function, and that is held
against PyTorch's own vectors where there are some.
"""

from __future__ import annotations

import base64
import json
import os
import random
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from lambda_app.coldstart.clock import PhaseClock
from lambda_app.start import start
from scripts.local.embedded_bundle import ensure_bundle
from scripts.local.in_process import LocalContext
from scripts.local.rie import Emulator
from tests.support.function_checks import GOLDEN, MIN_COSINE, cosine
from tests.support.mixed_requests import DISTINCT, mixed_requests

pytestmark = [pytest.mark.emulator, pytest.mark.minilm]

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "20000"))
# Two copies of the function agree to this: repacked weights sum in another order.
TOLERANCE = 2e-4
SAMPLES = 100
# Of the memory after a fifth of the requests, over all that follow.
MAX_GROWTH = 0.05
PROBE = {"action": "embed", "texts": ["Yellow fever is transmitted by mosquitoes."], "input_type": "passage"}
PROBE_EVERY = 10


class Latency(NamedTuple):
    """Milliseconds from the client's side, the emulator's own share included."""

    p50: float
    p99: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, ratio {self.p99 / self.p50:.2f}"


def without_ids(answer: Any) -> Any:
    """An answer as JSON values, without what is another in each invocation."""
    if isinstance(answer, dict) and "statusCode" in answer:
        body = json.loads(answer["body"])
        if isinstance(body, dict):
            body.pop("id", None)
        return {"status": answer["statusCode"], "body": body}
    return answer


def same(found: Any, expected: Any) -> bool:
    """Equal, but for the last digits of numbers."""
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(same(found[name], value) for name, value in expected.items())
        )
    if isinstance(expected, list):
        return isinstance(found, list) and len(found) == len(expected) and all(map(same, found, expected))
    if isinstance(expected, float):
        return isinstance(found, float) and abs(found - expected) < TOLERANCE
    if isinstance(expected, int) and not isinstance(expected, bool):
        # int8 vectors round at a boundary now and then.
        return isinstance(found, int) and abs(found - expected) <= (1 if abs(expected) <= 128 else 0)
    if isinstance(expected, str) and found != expected and len(expected) > 1_000:
        vectors = [np.frombuffer(base64.b64decode(text), "<f4") for text in (found, expected)]
        return len(vectors[0]) == len(vectors[1]) and bool(np.abs(vectors[0] - vectors[1]).max() < TOLERANCE)
    return bool(found == expected)


def resident_megabytes(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def latency(seconds: list[float]) -> Latency:
    p50, p99 = np.percentile(seconds, [50, 99]) * 1000
    return Latency(float(p50), float(p99))


@pytest.fixture(scope="module")
def expected() -> list[tuple[Any, Any]]:
    """Distinct requests with their answers."""
    handler = start({"MODEL_DIR": str(ensure_bundle().directory), "LOG_LEVEL": "ERROR"}, PhaseClock())

    def answer(event: Any) -> Any:
        return without_ids(json.loads(json.dumps(handler(event, LocalContext()))))

    for text, golden in GOLDEN.items():
        (vector,) = answer({"action": "embed", "texts": [text], "input_type": "passage"})["embeddings"]
        assert cosine(vector, golden) > MIN_COSINE
    return [(event, answer(event)) for event in [PROBE, *mixed_requests(DISTINCT)]]


@pytest.mark.parametrize("count", [REQUESTS // 10, pytest.param(REQUESTS, marks=pytest.mark.soak)])
def test_no_wrong_answer_and_no_growth(rie: Path, expected: list[tuple[Any, Any]], count: int) -> None:
    generator = random.Random(count)
    wrong: list[Any] = []
    seconds: dict[bool, list[float]] = {True: [], False: []}
    memory: list[tuple[int, float]] = []
    with Emulator({"MODEL_DIR": str(ensure_bundle().directory)}) as emulator:
        # Everything once: what opens with its first request is open then.
        for event, _ in expected:
            emulator.invoke(event)
        pid = emulator.runtime_pid
        assert pid is not None
        for number in range(count):
            is_probe = number % PROBE_EVERY == 0
            event, right = expected[0] if is_probe else generator.choice(expected)
            payload = json.dumps(event).encode("ascii")
            began = time.perf_counter()
            raw = emulator.post(payload)
            seconds[is_probe].append(time.perf_counter() - began)
            found = without_ids(json.loads(raw))
            if not same(found, right):
                wrong.append((event, found))
            if number % (count // SAMPLES) == 0:
                memory.append((number, resident_megabytes(pid)))
        assert emulator.runtime_pid == pid
    settled = memory[SAMPLES // 5 :]
    numbers, megabytes = (np.array(column, dtype=float) for column in zip(*settled, strict=True))
    slope = float(np.polyfit(numbers, megabytes, 1)[0]) * 1000
    print(
        f"\n{count} requests, {len(wrong)} wrong; memory {megabytes[0]:.1f} MB to {megabytes[-1]:.1f} MB, "
        f"slope {slope:+.3f} MB per 1000 requests\n"
        f"one text, {len(seconds[True])} times: {latency(seconds[True])}\n"
        f"all requests: {latency(seconds[True] + seconds[False])}"
    )
    assert wrong[:3] == []
    assert slope * count / 1000 < megabytes[0] * MAX_GROWTH
