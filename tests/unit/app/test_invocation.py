"""The record of an invocation: what it reads of Lambda's context, and how its limits narrow."""

from __future__ import annotations

import json
import time

import pytest

from lambda_app.coldstart.logs import JsonLog
from lambda_app.errors import InferenceError
from lambda_app.invocation import MARGIN_SECONDS, Invocation
from lambda_app.limits import LAMBDA_RESPONSE_BYTES
from lambda_app.settings import LOG_LEVELS
from tests.support.fakes import Context, invocation

LOG = JsonLog(LOG_LEVELS["ERROR"])


def test_lambdas_context_gives_the_identity_and_the_deadline() -> None:
    found = Invocation.from_context(Context(aws_request_id="id-1", seconds=30), LOG)
    assert found.request_id == "id-1"
    assert found.deadline == pytest.approx(time.monotonic() + 30 - MARGIN_SECONDS, abs=0.5)
    assert found.response_bytes == LAMBDA_RESPONSE_BYTES
    assert (found.usage.items, found.usage.tokens) == (0, 0)


@pytest.mark.parametrize("context", [None, object(), {"aws_request_id": "a"}])
def test_other_contexts_give_no_deadline(context: object) -> None:
    found = Invocation.from_context(context, LOG)
    assert (found.request_id, found.deadline) == ("", None)


def test_each_invocation_counts_for_itself() -> None:
    first, second = invocation(), invocation()
    narrowed = first.with_timeout(10).with_response_limit(5)
    narrowed.usage.add(2, 7)
    narrowed.usage.add(1, 3)
    assert (first.usage.items, first.usage.tokens) == (3, 10)
    assert (second.usage.items, second.usage.tokens) == (0, 0)


def test_the_earlier_deadline_counts() -> None:
    now = time.monotonic()
    assert invocation().with_timeout(29).deadline == pytest.approx(now + 29 - MARGIN_SECONDS, abs=0.5)
    assert invocation(deadline=now + 100).with_timeout(29).deadline == pytest.approx(
        now + 29 - MARGIN_SECONDS, abs=0.5
    )
    assert invocation(deadline=now + 3).with_timeout(29).deadline == now + 3


@pytest.mark.parametrize(("limit", "expected"), [(None, 100), (99, 99), (100, 100), (101, 100)])
def test_the_smaller_response_limit_counts(limit: int | None, expected: int) -> None:
    assert invocation(response_bytes=100).with_response_limit(limit).response_bytes == expected


def test_a_fault_is_logged_with_its_place_and_without_a_foreign_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for error in (RuntimeError("SECRET"), InferenceError("not finite")):
        try:
            raise error
        except Exception as caught:
            invocation(request_id="id-1").log_fault(caught)
    foreign, own = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (foreign["type"], foreign["code"], foreign["message"]) == ("RuntimeError", "internal_error", None)
    assert (own["type"], own["code"], own["message"]) == ("InferenceError", "inference_failed", "not finite")
    assert foreign["request_id"] == "id-1"
    assert foreign["where"][-1].startswith("test_invocation.py:")
    assert "SECRET" not in json.dumps(foreign)
