"""Many events of one invocation stop at the limit of the response and at the deadline, as a whole."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from lambda_app.api.events.collect import SECONDS_PER_BYTE, Responses
from lambda_app.errors import ResponseTooLargeError
from lambda_app.limits import Limits
from tests.support.fakes import ERROR_BYTES, Context, FakeEmbedder, fake_dispatcher, invocation

EMBED = {"action": "embed", "texts": ["a"] * 40}


class Counting(FakeEmbedder):
    """Counts its calls, each of which takes some time."""

    calls = 0
    seconds = 0.0

    def embed(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        time.sleep(self.seconds)
        return super().embed(*arguments, **options)


def counted(event: Any, *, limit: int = 6_291_556, seconds: float = 30.0, each: float = 0.0) -> Any:
    """The answer to an event, and how many of its items reached the model."""
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=limit))
    embedder = Counting()
    embedder.seconds = each
    dispatcher._service.registry.embedder = embedder  # type: ignore[misc,assignment]
    return dispatcher(event, Context(seconds=seconds)), embedder.calls


def shapes(count: int) -> dict[str, Any]:
    return {
        "list": [EMBED] * count,
        "items": {"BatchInput": EMBED, "Items": [{}] * count},
        "messages": [
            {"eventSource": "aws:sqs", "messageId": str(number), "body": json.dumps(EMBED)}
            for number in range(count)
        ],
    }


@pytest.mark.parametrize("shape", shapes(0))
def test_work_stops_where_the_responses_no_longer_fit(shape: str) -> None:
    answer, calls = counted(shapes(100)[shape], limit=10_000)
    error = answer["error"]
    assert error["code"] == "response_too_large"
    assert calls <= error["fit"] + 2
    assert len(json.dumps(answer)) < ERROR_BYTES
    fits, _ = counted(shapes(error["fit"])[shape], limit=10_000)
    assert "error" not in fits
    one_more, _ = counted(shapes(error["fit"] + 1)[shape], limit=10_000)
    assert one_more["error"]["fit"] == error["fit"]


def test_an_event_whose_response_fits_by_no_means_does_not_spoil_the_others() -> None:
    large = {"action": "embed", "texts": ["a"] * 2_000}
    (first, second, third), calls = counted([EMBED, large, EMBED], limit=10_000)
    assert first == third
    assert (second["error"]["code"], calls) == ("response_too_large", 2)


def test_an_event_keeps_its_own_limit_among_others() -> None:
    answers, _ = counted([{**EMBED, "max_response_bytes": 900, "encoding": "base64"}, EMBED])
    assert answers[0]["error"]["code"] == "response_too_large"
    assert "embeddings" in answers[1]


@pytest.mark.parametrize("shape", shapes(0))
def test_events_for_which_no_time_is_left_are_not_looked_at(shape: str) -> None:
    answer, calls = counted(shapes(100)[shape], seconds=0.5, each=0.05)
    answers = answer["answers"] if shape == "items" else answer
    late = [item["error"] for item in answers if "error" in item]
    assert len(answers) == 100
    assert 0 < calls < 20
    assert late
    assert {error["code"] for error in late} == {"deadline_exceeded"}


def test_writing_takes_time_from_the_deadline() -> None:
    deadline = time.monotonic() + 60
    responses = Responses(invocation(deadline=deadline), 2, 2)
    responses.add({"embeddings": ["x" * 1_000_000]})
    left = responses.invocation.deadline
    assert left is not None
    assert deadline - left == pytest.approx(1_000_000 * SECONDS_PER_BYTE, rel=0.01)
    assert responses.late() is None
    late = Responses(invocation(deadline=time.monotonic() + 0.1), 2, 2)
    late.add({"embeddings": ["x" * 1_000_000]})
    error = late.late()
    assert error is not None
    assert (error["error"]["done"], error["error"]["total"]) == (1, 2)


def test_sizes_are_exact_where_the_bound_does_not_fit() -> None:
    response = {"embeddings": [[0.5] * 100]}
    size = len(json.dumps([response] * 3))
    fits = Responses(invocation(response_bytes=size), 3, 2)
    for _ in range(3):
        fits.add(response)
    full = Responses(invocation(response_bytes=size - 1), 3, 2)
    full.add(response)
    full.add(response)
    with pytest.raises(ResponseTooLargeError) as caught:
        full.add(response)
    assert caught.value.fit == 2


def test_a_list_has_a_bound_on_its_number() -> None:
    started = time.process_time()
    answer, _ = counted([{"action": "info"}] * 10_001)
    assert answer["error"]["code"] == "limit_exceeded"
    assert time.process_time() - started < 1


def test_what_a_batch_shares_is_no_larger_than_an_event() -> None:
    shared = {"action": "ping"} | {f"field{number}": 0 for number in range(100)}
    answer, _ = counted({"BatchInput": shared, "Items": [{}] * 10})
    assert (answer["error"]["code"], answer["error"]["param"]) == ("limit_exceeded", "BatchInput")
