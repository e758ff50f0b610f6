"""SQS messages, each with a direct event in its body, and where their results go.

SQS reads which messages failed, and nothing else. So results are handed to a function of the deployer's own,
RESULT_SINK, and a message counts as done once that has returned. Without a sink every message fails: to
acknowledge it would lose its result. https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lambda_app.api.events.batch import answer_one
from lambda_app.api.events.sqs_message import is_message, message_event, message_id
from lambda_app.errors import ConfigurationError, LambdaAppError, RequestError
from lambda_app.invocation import Invocation, Result
from lambda_app.settings import DISCARD

if TYPE_CHECKING:
    from lambda_app.service.service import Service

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
    """Serves each message on its own: those that fail come back, the others are done. Never raises."""
    records = event["Records"]
    if sink is None:
        failed = [message_id(record) for record in records]
        invocation.log.error(
            "result_sink_missing",
            request_id=invocation.request_id,
            messages=len(failed),
            reason=f"set RESULT_SINK to module:function for the results, or to {DISCARD} to throw them away",
        )
    else:
        failed, results = _serve(service, records, invocation)
        failed += _deliver(results, sink, invocation)
    response = {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    return Result(response, f"{len(failed)} of {len(records)} failed" if failed else "ok")


def _serve(
    service: Service, records: list[dict[str, Any]], invocation: Invocation
) -> tuple[list[str], list[dict[str, Any]]]:
    """Returns the identifiers of messages that failed, and the results of the others."""
    failed: list[str] = []
    results: list[dict[str, Any]] = []
    for record in records:
        identifier = message_id(record)
        if failed and str(record.get("eventSourceARN")).endswith(".fifo"):
            # Messages after a failed one have to wait for it, or the queue's order is lost.
            failed.append(identifier)
            continue
        try:
            request = message_event(record)
            response = answer_one(service, request, invocation)
            code = response["error"]["code"] if "error" in response else None
        except RequestError as error:
            code = error.code
        except Exception as error:
            invocation.log_fault(error)
            code = getattr(error, "code", LambdaAppError.code)
        if code is None:
            attributes = record.get("messageAttributes") or {}
            results.append(
                {"message_id": identifier, "attributes": attributes, "event": request, "answer": response}
            )
        else:
            invocation.log.warning(
                "message_failed", request_id=invocation.request_id, message_id=identifier, code=code
            )
            failed.append(identifier)
    return failed, results


def _deliver(results: list[dict[str, Any]], sink: Sink, invocation: Invocation) -> list[str]:
    """Hands results to the sink; returns the identifiers of messages that have to come back."""
    if not results:
        return []
    try:
        sink(results)
    except Exception as error:
        invocation.log_fault(error)
        return [result["message_id"] for result in results]
    return []


def _discard(results: list[dict[str, Any]]) -> None:
    """Throws results away."""
