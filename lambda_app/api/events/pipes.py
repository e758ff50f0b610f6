"""Records of EventBridge Pipes, whose target this function is: a list of them, without an envelope.

Results go to the RESULT_SINK, and the pipe comes back with the records that failed, which it knows by their
``messageId`` or ``eventID``. Without a sink the function is an enrichment, and answers lists (``batch.py``).
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app.api.events import sqs, streams
from lambda_app.api.events.sinks import Sink, serve_messages
from lambda_app.api.events.sqs_message import is_message
from lambda_app.api.events.streams_record import are_of_one_stream
from lambda_app.invocation import Invocation, Result

if TYPE_CHECKING:
    from lambda_app.service.service import Service


def matches(sink: Sink | None, event: Any) -> bool:
    """Whether an event is a list of records of one source, and there is a sink for their results."""
    if sink is None or not isinstance(event, list) or not event:
        return False
    return all(map(is_message, event)) or are_of_one_stream(event)


def answer(
    sink: Sink | None, service: Service, event: Sequence[Mapping[str, Any]], invocation: Invocation
) -> Result:
    """Serves each record on its own: the pipe comes back with those that failed.

    Raises:
        LimitError: there are more records than a pipe sends.
    """
    queued = is_message(event[0])
    found = sqs.messages(event) if queued else streams.messages(event, piped=True)
    return serve_messages(service, found, sink, invocation)
