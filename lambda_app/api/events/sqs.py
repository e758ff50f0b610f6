"""SQS messages, each with a direct event in its body, and where their answers go.

A function that a queue calls has nobody to answer to: SQS reads which messages failed, and nothing else. So
the answers are handed to a function of the deployer's own, RESULT_SINK, and a message counts as done once
that has returned. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_app.api.events.batch import answer_one, is_message, message_event, message_id
from lambda_app.errors import ConfigurationError, LambdaAppError, RequestError

if TYPE_CHECKING:
    from lambda_app.api.events.direct import DirectDoor
    from lambda_app.coldstart.logs import JsonLog
    from lambda_app.invocation import Invocation

# Takes a list of {"message_id", "attributes", "event", "answer"}; raises to have the messages come back.
Sink = Callable[[list[dict[str, Any]]], object]


class QueueResult(NamedTuple):
    """``answer`` is for SQS."""

    answer: dict[str, Any]
    failed: int
    total: int


def is_queue(event: Any) -> bool:
    """Whether this is a batch of SQS messages."""
    records = event.get("Records") if isinstance(event, dict) else None
    return isinstance(records, list) and bool(records) and all(map(is_message, records))


def load_sink(name: str) -> Sink:
    """The function that RESULT_SINK names as ``module:function``.

    Raises:
        ConfigurationError: there is none.
    """
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


def answer_queue(
    direct: DirectDoor, event: Mapping[str, Any], invocation: Invocation, sink: Sink | None, log: JsonLog
) -> QueueResult:
    """Does each message on its own; those that fail come back, the others are done. Never raises."""
    failed: list[str] = []
    results: list[dict[str, Any]] = []
    for record in event["Records"]:
        identifier = message_id(record)
        if failed and str(record.get("eventSourceARN")).endswith(".fifo"):
            # What follows a failure has to wait for it, or the queue's order is lost.
            failed.append(identifier)
            continue
        try:
            request = message_event(record)
            answer = answer_one(direct, request, invocation)
            code = answer["error"]["code"] if "error" in answer else None
        except RequestError as error:
            code = error.code
        except Exception as error:
            invocation.log_fault(error)
            code = getattr(error, "code", LambdaAppError.code)
        if code is None:
            attributes = record.get("messageAttributes") or {}
            results.append(
                {"message_id": identifier, "attributes": attributes, "event": request, "answer": answer}
            )
        else:
            log.warning("message_failed", request_id=invocation.request_id, message_id=identifier, code=code)
            failed.append(identifier)
    failed += _deliver(results, sink, invocation, log)
    answer = {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    return QueueResult(answer, len(failed), len(event["Records"]))


def _deliver(
    results: list[dict[str, Any]], sink: Sink | None, invocation: Invocation, log: JsonLog
) -> list[str]:
    """Hands answers over; the identifiers of messages that have to come back."""
    if not results:
        return []
    if sink is None:
        log.warning("answers_discarded", request_id=invocation.request_id, messages=len(results))
        return []
    try:
        sink(results)
    except Exception as error:
        invocation.log_fault(error)
        return [result["message_id"] for result in results]
    return []
