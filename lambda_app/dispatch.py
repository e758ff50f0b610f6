"""Finds the event source that an event comes from; one log line for each invocation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from lambda_app.api.events import direct, warm_up
from lambda_app.api.http import endpoint
from lambda_app.coldstart.clock import process_reads
from lambda_app.coldstart.start_list import reap
from lambda_app.errors import DeadlineError, LambdaAppError, RequestError, UnsupportedEventError
from lambda_app.invocation import Invocation, Result
from lambda_app.service.service import Service

if TYPE_CHECKING:
    from lambda_app.api.events.sinks import Sink
    from lambda_app.coldstart.clock import PhaseClock
    from lambda_app.coldstart.logs import JsonLog
    from lambda_app.settings import Settings


class EventSource(NamedTuple):
    """Where events come from. ``name`` stands in the log line; ``answer`` serves the events that match.

    Errors of sources whose responses nobody reads are raised: returned, they would count as success.
    """

    name: str
    matches: Callable[[Any], bool]
    answer: Callable[[Service, Any, Invocation], Result]
    is_read: bool = True


class Dispatcher:
    """The handler that Lambda calls, one event at a time."""

    def __init__(self, service: Service, settings: Settings, log: JsonLog, clock: PhaseClock) -> None:
        """Opens nothing but the RESULT_SINK.

        Raises:
            ConfigurationError: RESULT_SINK names no sink.
        """
        self._service = service
        self._log = log
        self._http = endpoint.HttpEndpoint(settings, clock)
        self._sink: Sink | None = None
        sink = settings.result_sink
        self._output = sink if sink is not None and sink.startswith("s3://") else None
        if sink is not None:
            from lambda_app.api.events.sinks import load_sink

            self._sink = load_sink(sink)
        self._cold = True
        self._reader = settings.start_reader

    def open_http(self) -> endpoint.Adapter:
        """Builds the web application, unless it is there already."""
        return self._http.open(self._service)

    def __call__(self, event: Any, context: Any) -> Any:
        """Answers any JSON value. The caller's mistakes come back as typed errors.

        Raises:
            LambdaAppError: a fault of ours, so that Lambda counts it (over HTTP it is a 500 instead), or an
                event that is not served and whose response nobody reads.
        """
        started = time.perf_counter()
        invocation = Invocation.from_context(context, self._log, self._service.limits.response_bytes)
        source = next((source for source in self._sources() if source.matches(event)), UNSUPPORTED)
        response, outcome = self._answer(source, event, invocation)
        usage = invocation.usage
        self._log.info(
            "invocation",
            request_id=invocation.request_id,
            source=source.name,
            outcome=outcome,
            **({"code": usage.code} if usage.code else {}),
            **({"ignored_fields": usage.ignored_fields} if usage.ignored_fields else {}),
            items=usage.items,
            tokens=usage.tokens,
            milliseconds=round((time.perf_counter() - started) * 1000, 2),
            cold=self._cold,
            **(process_reads() if self._cold else {}),
        )
        self._cold = False
        if self._reader is not None and reap(self._reader):
            self._reader = None
        return response

    def _sources(self) -> Iterator[EventSource]:
        """Yields event sources in the order in which they are tried."""
        yield EventSource("http", endpoint.matches, self._http.answer)
        yield EventSource("ping", warm_up.matches, warm_up.answer)
        yield EventSource("direct", direct.matches, direct.answer)
        # Imported by the first event that comes from none of the above.
        from lambda_app.api.events import batch, pipes, redshift, sqs, streams

        yield EventSource("redshift", redshift.matches, redshift.answer)
        yield EventSource("queue", sqs.matches, partial(sqs.answer, self._sink), is_read=False)
        yield EventSource("stream", streams.matches, partial(streams.answer, self._sink), is_read=False)
        matches, answer = partial(pipes.matches, self._sink), partial(pipes.answer, self._sink)
        yield EventSource("pipe", matches, answer, is_read=False)
        from lambda_app.api.events import objects

        matches, answer = partial(objects.matches, self._output), partial(objects.answer, self._output)
        yield EventSource("object", matches, answer, is_read=False)
        answer = partial(objects.answer_tasks, self._output)
        yield EventSource("task", objects.matches_tasks, answer)
        yield EventSource("batch", batch.matches, batch.answer)
        from lambda_app.api.events import unserved

        yield EventSource("unserved", unserved.matches, unserved.answer, is_read=False)

    def _answer(self, source: EventSource, event: Any, invocation: Invocation) -> Result:
        try:
            return source.answer(self._service, event, invocation)
        except Exception as error:
            if isinstance(error, RequestError | DeadlineError) and source.is_read:
                return Result(direct.error_object(error), error.code)
            invocation.log_fault(error)
            if isinstance(error, LambdaAppError):
                raise
            # A foreign message may quote a caller's text, and awslambdaric logs and returns messages.
            raise LambdaAppError("internal error: the function's log has the cause") from None


def _refuse(service: Service, event: Any, invocation: Invocation) -> Result:
    raise UnsupportedEventError(
        "the event is not HTTP and has no action: docs/reference/events.md lists the events"
    )


UNSUPPORTED = EventSource("unsupported", lambda event: True, _refuse)
