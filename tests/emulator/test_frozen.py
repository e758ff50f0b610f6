"""Deadlines, and a process that Lambda freezes between requests: nothing is stale, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scripts.local.rie import Emulator
from tests.support.function_checks import GOOD, alive, assert_vectors, body_of, http_event

pytestmark = [pytest.mark.emulator, pytest.mark.minilm]

TIMEOUT_SECONDS = 3
SOME_WORDS = "some words of a text that is long enough to take its time " * 9
TEXTS = [f"number {number}: {SOME_WORDS}" for number in range(2_000)]
MARGIN_SECONDS = 1.0


@pytest.fixture(scope="module")
def hurried(rie: Path, minilm: Path) -> Iterator[Emulator]:
    """A function whose invocations end after three seconds."""
    environment = {"MODEL_DIR": str(minilm), "AWS_LAMBDA_FUNCTION_TIMEOUT": str(TIMEOUT_SECONDS)}
    environment["RESULT_SINK"] = "discard"
    with Emulator(environment) as running:
        yield running


def timed(emulator: Emulator, event: Any) -> tuple[Any, float]:
    began = time.monotonic()
    answer = emulator.invoke(event)
    return answer, time.monotonic() - began


@pytest.mark.parametrize(
    "event",
    [
        {"action": "embed", "texts": TEXTS, "encoding": "base64"},
        {"action": "rerank", "query": "a text", "documents": TEXTS[:1_000]},
        {"BatchInput": {"action": "embed", "encoding": "base64"}, "Items": TEXTS},
    ],
    ids=["embed", "rerank", "items"],
)
def test_work_stops_in_time_and_tells_how_far_it_came(hurried: Emulator, event: Any) -> None:
    before = alive(hurried)
    answer, seconds = timed(hurried, event)
    error = answer["error"]
    assert error["code"] == "deadline_exceeded"
    assert 0 < error["done"] < error["total"] <= 2_000
    assert f"{error['done']} of {error['total']}" in error["message"]
    assert TIMEOUT_SECONDS - MARGIN_SECONDS < seconds < TIMEOUT_SECONDS
    # The same process answers on, and at once.
    assert alive(hurried) == before
    assert timed(hurried, GOOD)[1] < 1


def test_work_stops_in_time_over_http(hurried: Emulator) -> None:
    before = alive(hurried)
    answer, seconds = timed(hurried, http_event(json.dumps({"input": TEXTS, "encoding_format": "base64"})))
    assert answer["statusCode"] == 504
    assert int(answer["headers"]["retry-after"]) > 0
    error = body_of(answer)["error"]
    assert (error["code"], error["type"]) == ("deadline_exceeded", "server_error")
    assert " of 2000 items" in error["message"]
    assert seconds < TIMEOUT_SECONDS
    assert alive(hurried) == before


def test_events_of_a_list_that_come_too_late_say_so(hurried: Emulator) -> None:
    event = {"action": "embed", "texts": TEXTS[:10], "encoding": "base64"}
    answers, seconds = timed(hurried, [event] * 400)
    codes = [answer.get("error", {}).get("code") for answer in answers]
    assert codes[0] is None
    assert codes[-1] == "deadline_exceeded"
    assert codes == sorted(codes, key=lambda code: code is not None)
    assert seconds < TIMEOUT_SECONDS


def test_messages_of_a_queue_that_come_too_late_come_back(hurried: Emulator) -> None:
    body = json.dumps({"action": "embed", "texts": TEXTS[:10]})
    records = [{"messageId": str(number), "eventSource": "aws:sqs", "body": body} for number in range(400)]
    answer, seconds = timed(hurried, {"Records": records})
    failed = [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]
    assert 0 < len(failed) < 400
    assert failed == [str(number) for number in range(400 - len(failed), 400)]
    assert seconds < TIMEOUT_SECONDS


def test_a_deadline_is_not_stale_after_a_freeze(hurried: Emulator) -> None:
    pid = alive(hurried)
    for _ in range(2):
        os.kill(pid, signal.SIGSTOP)
        # Longer than an invocation lasts.
        time.sleep(TIMEOUT_SECONDS + 0.5)
        os.kill(pid, signal.SIGCONT)
        answer, seconds = timed(hurried, GOOD)
        assert_vectors(answer["embeddings"], GOOD["texts"])  # type: ignore[arg-type]
        assert seconds < 1
    assert alive(hurried) == pid


def test_an_answer_is_not_lost_in_a_freeze(hurried: Emulator) -> None:
    """Frozen in the middle of a request: its answer comes, and what was measured then refuses no other."""
    pid = alive(hurried)
    event = {"action": "embed", "texts": TEXTS[:30], "encoding": "base64"}
    whole = hurried.invoke(event)
    assert "embeddings" in whole

    def freeze() -> None:
        time.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.7)
        os.kill(pid, signal.SIGCONT)

    for _ in range(3):
        thread = threading.Thread(target=freeze)
        thread.start()
        answer, seconds = timed(hurried, event)
        thread.join()
        assert answer == whole
        assert seconds > 0.5
    assert hurried.invoke(event) == whole
    assert alive(hurried) == pid
