"""Thousands of mixed requests, one after the other: the process stays, and its memory does not grow."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from model_build.fuzz_corpus import fuzz_texts
from scripts.embedded_bundle import ensure_bundle
from scripts.rie import ROOT, Emulator

pytestmark = [pytest.mark.soak, pytest.mark.emulator]

REQUESTS = int(os.environ.get("SOAK_REQUESTS", "2000"))
SETTLED = 200
MOST_GROWTH = 0.05


def requests() -> Iterator[Any]:
    """Every event of ``events/`` in turn, between requests of random size and mistakes."""
    generator = random.Random(1)
    events = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "events").iterdir())]
    texts = [text for text in fuzz_texts(500, 7) if text and "\0" not in text]
    for event in itertools.cycle(events):
        some = generator.sample(texts, generator.randint(1, 12))
        yield event
        yield {"action": "embed", "texts": some, "input_type": generator.choice(["query", "passage", "none"])}
        yield {"action": "rerank", "query": some[0], "documents": some, "top_n": generator.randint(1, 3)}
        yield {"action": "embed", "texts": [some[0], None]}


def resident_kilobytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_memory_and_process_stay(rie: Path) -> None:
    with Emulator({"MODEL_DIR": str(ensure_bundle().directory)}) as emulator:
        settled = pid = None
        for number, event in enumerate(itertools.islice(requests(), REQUESTS), 1):
            answer = emulator.invoke(event)
            assert "errorMessage" not in answer, answer
            if number == min(SETTLED, REQUESTS // 2):
                pid = emulator.runtime_pid
                assert pid is not None
                settled = resident_kilobytes(pid)
        assert pid is not None
        assert settled is not None
        assert emulator.runtime_pid == pid
        last = resident_kilobytes(pid)
    print(
        f"{REQUESTS} requests: {settled / 1024:.0f} MB after {SETTLED}, {last / 1024:.0f} MB after the last"
    )
    assert last < settled * (1 + MOST_GROWTH)
