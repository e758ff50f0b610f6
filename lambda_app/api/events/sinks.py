"""Where the results of messages and records go that nobody waits for: the RESULT_SINK.

Queues and streams read which of their messages failed, and nothing else. So results are handed to a sink,
and a message counts as done once that has returned. Without a sink every message fails: to acknowledge it
would lose its result.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_app.api.events.batch import answer_one
from lambda_app.api.named import import_named
from lambda_app.api.response_size import size_bound
from lambda_app.errors import (
    ConfigurationError,
    DeadlineError,
    LambdaAppError,
    LimitError,
    NotStoredError,
    RequestError,
)
from lambda_app.invocation import Invocation, Result
from lambda_app.limits import LAMBDA_RESPONSE_BYTES
from lambda_app.settings import DISCARD, READY_SINKS

if TYPE_CHECKING:
    from lambda_app.service.service import Service

# Results are handed to the sink once there are so many of them, or so many bytes.
PORTION_MESSAGES = 100
PORTION_BYTES = LAMBDA_RESPONSE_BYTES
# Takes a list of {"message_id", "attributes", "event", "answer"}; raises to have the messages come back.
Sink = Callable[[list[dict[str, Any]]], object]


class Message(NamedTuple):
    """A message of a queue or a record of a stream.

    ``identifier`` is what the source knows it by, ``name`` what the sink does. ``read`` returns its direct
    event, or raises a RequestError. ``ordered`` messages wait for one before them that failed.
    """

    identifier: str
    name: str
    attributes: Any
    read: Callable[[], Any]
    ordered: bool = False


def load_sink(name: str) -> Sink:
    """Returns the sink that RESULT_SINK names: a function as ``module:function``, or one that is ready.

    Raises:
        ConfigurationError: the function does not exist, or the image lacks what the sink needs.
    """
    if name == DISCARD:
        return _discard
    if name.startswith(READY_SINKS):
        from lambda_app.api.events.stored import ready_sink

        return ready_sink(name)
    sink = import_named(name, "RESULT_SINK", "module:function")
    if not callable(sink):
        raise ConfigurationError("RESULT_SINK must name a function", param="RESULT_SINK")
    found: Sink = sink
    return found


def serve_messages(
    service: Service, messages: Sequence[Message], sink: Sink | None, invocation: Invocation
) -> Result:
    """Serves each message on its own: those that fail come back, the others are done.

    Raises:
        LimitError: there are more messages than any source sends.
    """
    if len(messages) > service.limits.events:
        raise LimitError(
            f"the event holds {len(messages)} messages, {service.limits.events} at most are sent together"
        )
    if sink is None:
        failed = [message.identifier for message in messages]
        invocation.log.error(
            "result_sink_missing",
            request_id=invocation.request_id,
            messages=len(failed),
            reason="set RESULT_SINK to s3://bucket/prefix, s3vectors://bucket/index or module:function for "
            f"the results, or to {DISCARD} to throw them away",
        )
    else:
        failed = _serve(service, messages, sink, invocation)
    response = {"batchItemFailures": [{"itemIdentifier": identifier} for identifier in failed]}
    return Result(response, f"{len(failed)} of {len(messages)} failed" if failed else "ok")


class _Portions:
    """Hands results to the sink whenever there are enough of them, so that few are held at a time."""

    def __init__(self, sink: Sink, failed: list[str], invocation: Invocation) -> None:
        self._sink = sink
        self._failed = failed
        self._invocation = invocation
        self._results: list[dict[str, Any]] = []
        self._identifiers: list[str] = []
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

    def add(self, message: Message, event: Any, answer: dict[str, Any]) -> None:
        """Adds the result of a message, which counts as failed once the sink raises."""
        self._identifiers.append(message.identifier)
        self._results.append(
            {"message_id": message.name, "attributes": message.attributes, "event": event, "answer": answer}
        )
        self._bytes += size_bound(answer)
        if len(self._results) >= PORTION_MESSAGES or self._bytes >= PORTION_BYTES:
            self.deliver()

    def deliver(self) -> None:
        """Hands over the results that are held."""
        results, self._results, self._bytes = self._results, [], 0
        identifiers, self._identifiers = self._identifiers, []
        if not results:
            return
        started = time.monotonic()
        try:
            self._sink(results)
        except NotStoredError as error:
            self._invocation.log_fault(error)
            self._failed += [identifiers[place] for place in error.places]
        except Exception as error:
            self._invocation.log_fault(error)
            self._failed += identifiers
        self._seconds = max(self._seconds, time.monotonic() - started)


def _serve(service: Service, messages: Sequence[Message], sink: Sink, invocation: Invocation) -> list[str]:
    """Serves messages while there is time; returns the identifiers of those that have to come back."""
    failed: list[str] = []
    portions = _Portions(sink, failed, invocation)
    for place, message in enumerate(messages):
        if failed and message.ordered:
            # Messages after a failed one have to wait for it, or the queue's order is lost.
            failed.append(message.identifier)
            continue
        if portions.late:
            # What is done so far is delivered: the rest comes back, and is fewer the next time.
            rest = [other.identifier for other in messages[place:]]
            failed += rest
            invocation.log.warning(
                "messages_not_begun",
                request_id=invocation.request_id,
                messages=len(rest),
                code=DeadlineError.code,
            )
            break
        request, response, code = _serve_one(service, message, portions.invocation)
        if code is None:
            portions.add(message, request, response)
        else:
            invocation.log.warning(
                "message_failed", request_id=invocation.request_id, message_id=message.name, code=code
            )
            failed.append(message.identifier)
    portions.deliver()
    return failed


def _serve_one(
    service: Service, message: Message, invocation: Invocation
) -> tuple[Any, dict[str, Any], str | None]:
    """Returns the event of a message, its response, and the code of its error, None where it has none."""
    try:
        request = message.read()
        response = answer_one(service, request, invocation)
    except RequestError as error:
        return None, {}, error.code
    except Exception as error:
        invocation.log_fault(error)
        return None, {}, getattr(error, "code", LambdaAppError.code)
    return request, response, response["error"]["code"] if "error" in response else None


def _discard(results: list[dict[str, Any]]) -> None:
    """Throws results away."""
