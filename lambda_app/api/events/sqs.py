"""SQS messages, each with a direct event in its body, and where their results go.

SQS reads which messages failed, and nothing else. So results are handed to a function of the deployer's own,
RESULT_SINK, and a message counts as done once that has returned. Without a sink every message fails: to
acknowledge it would lose its result. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.batch import answer_one
from lambda_app.api.events.sqs_message import is_message, message_event, message_id
from lambda_app.api.response_size import size_bound
from lambda_app.errors import ConfigurationError, DeadlineError, LambdaAppError, LimitError, RequestError
from lambda_app.invocation import Invocation, Result
from lambda_app.limits import LAMBDA_RESPONSE_BYTES
from lambda_app.settings import DISCARD

if TYPE_CHECKING:
    from lambda_app.service.service import Service

# Results are handed to the sink once there are so many of them, or so many bytes.
PORTION_MESSAGES = 100
PORTION_BYTES = LAMBDA_RESPONSE_BYTES
# Takes a list of {"message_id", "attributes", "event", "answer"}; raises to have the messages come back.
Sink = Callable[[list[dict[str, Any]]], object]


def load_sink(name: str) -> Sink:
    """Returns the function that RESULT_SINK names as ``module:function``, or one that discards results.

    Raises:
        ConfigurationError: there is no such function.
    """
    if name == DISCARD:
        return _discard
    module, _, function = name.partition(":")
    try:
        sink = getattr(import_module(module), function)
    except Exception as error:
        raise ConfigurationError(
            f"RESULT_SINK cannot be imported ({type(error).__name__}): it must be module:function",
            param="RESULT_SINK",
        ) from error
    if not callable(sink):
        raise ConfigurationError("RESULT_SINK must name a function", param="RESULT_SINK")
    found: Sink = sink
    return found


def matches(event: Any) -> bool:
    """Whether an event is a batch of SQS messages."""
    records = event.get("Records") if isinstance(event, dict) else None
    return isinstance(records, list) and bool(records) and all(map(is_message, records))


def answer(sink: Sink | None, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
    """Serves each message on its own: those that fail come back, the others are done.

    Raises:
        LimitError: there are more messages than SQS sends.
    """
    records = event["Records"]
    if len(records) > service.limits.events:
        raise LimitError(
            f"the event holds {len(records)} messages, SQS sends {service.limits.events} at most"
        )
    if sink is None:
        failed = [message_id(record) for record in records]
        invocation.log.error(
            "result_sink_missing",
            request_id=invocation.request_id,
            messages=len(failed),
            reason=f"set RESULT_SINK to module:function for the results, or to {DISCARD} to throw them away",
        )
    else:
        failed = _serve(service, records, sink, invocation)
    response = {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    return Result(response, f"{len(failed)} of {len(records)} failed" if failed else "ok")


class _Portions:
    """Hands results to the sink whenever there are enough of them, so that few are held at a time."""

    def __init__(self, sink: Sink, failed: list[str], invocation: Invocation) -> None:
        self._sink = sink
        self._failed = failed
        self._invocation = invocation
        self._results: list[dict[str, Any]] = []
        self._bytes = 0
        # The longest that the sink has taken.
        self._seconds = 0.0

    @property
    def invocation(self) -> Invocation:
        """The invocation, less the time that the sink will take for the results that are held."""
        deadline = self._invocation.deadline
        return (
            self._invocation
            if deadline is None
            else self._invocation._replace(deadline=deadline - self._seconds)
        )

    @property
    def late(self) -> bool:
        """Whether no time is left for another message."""
        deadline = self.invocation.deadline
        return deadline is not None and time.monotonic() >= deadline

    def add(self, result: dict[str, Any]) -> None:
        """Adds the result of a message, which counts as failed once the sink raises."""
        self._results.append(result)
        self._bytes += size_bound(result["answer"])
        if len(self._results) >= PORTION_MESSAGES or self._bytes >= PORTION_BYTES:
            self.deliver()

    def deliver(self) -> None:
        """Hands over the results that are held."""
        results, self._results, self._bytes = self._results, [], 0
        if not results:
            return
        started = time.monotonic()
        try:
            self._sink(results)
        except Exception as error:
            self._invocation.log_fault(error)
            self._failed += [result["message_id"] for result in results]
        self._seconds = max(self._seconds, time.monotonic() - started)


def _serve(service: Service, records: list[dict[str, Any]], sink: Sink, invocation: Invocation) -> list[str]:
    """Serves messages while there is time; returns the identifiers of those that have to come back."""
    failed: list[str] = []
    portions = _Portions(sink, failed, invocation)
    for place, record in enumerate(records):
        identifier = message_id(record)
        if failed and str(record.get("eventSourceARN")).endswith(".fifo"):
            # Messages after a failed one have to wait for it, or the queue's order is lost.
            failed.append(identifier)
            continue
        if portions.late:
            # What is done so far is delivered: the rest comes back, and is fewer the next time.
            rest = [message_id(other) for other in records[place:]]
            failed += rest
            invocation.log.warning(
                "messages_not_begun",
                request_id=invocation.request_id,
                messages=len(rest),
                code=DeadlineError.code,
            )
            break
        request, response, code = _serve_one(service, record, portions.invocation)
        if code is None:
            attributes = record.get("messageAttributes") or {}
            portions.add(
                {"message_id": identifier, "attributes": attributes, "event": request, "answer": response}
            )
        else:
            invocation.log.warning(
                "message_failed", request_id=invocation.request_id, message_id=identifier, code=code
            )
            failed.append(identifier)
    portions.deliver()
    return failed


def _serve_one(
    service: Service, record: Mapping[str, Any], invocation: Invocation
) -> tuple[Any, dict[str, Any], str | None]:
    """Returns the event of a message, its response, and the code of its error, None where it has none."""
    try:
        request = message_event(record)
        response = answer_one(service, request, invocation)
    except RequestError as error:
        return None, {}, error.code
    except Exception as error:
        invocation.log_fault(error)
        return None, {}, getattr(error, "code", LambdaAppError.code)
    return request, response, response["error"]["code"] if "error" in response else None


def _discard(results: list[dict[str, Any]]) -> None:
    """Throws results away."""
