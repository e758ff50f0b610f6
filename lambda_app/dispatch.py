"""Which door an event takes: HTTP goes through Mangum to FastAPI, the rest is answered without a web
layer."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from lambda_app.api.events.direct import DirectDoor, error_object
from lambda_app.api.http import gateway
from lambda_app.api.response_size import check_size
from lambda_app.errors import (
    DeadlineError,
    LambdaAppError,
    RequestError,
    UnsupportedEventError,
)
from lambda_app.invocation import Invocation
from lambda_app.service.service import Service

if TYPE_CHECKING:
    from mangum import Mangum

    from lambda_app.api.events.sqs import Sink
    from lambda_app.coldstart.clock import PhaseClock
    from lambda_app.coldstart.logs import JsonLog
    from lambda_app.settings import Settings

# API Gateway gives up on an integration after 29 or 30 seconds, whatever the function's own timeout is.
HTTP_SECONDS = 29.0
# What EventBridge and the usual warm-up plugin call themselves.
WARM_UP_SOURCES = frozenset({"aws.events", "aws.scheduler", "serverless-plugin-warmup"})


class Dispatcher:
    """The handler that Lambda calls, one event at a time."""

    def __init__(self, service: Service, settings: Settings, log: JsonLog, clock: PhaseClock) -> None:
        """Raises:
        ConfigurationError: RESULT_SINK names no function.
        """
        self._service = service
        self._settings = settings
        self._log = log
        self._clock = clock
        self._direct = DirectDoor(service)
        self._adapter: Mangum | None = None
        self._sink: Sink | None = None
        if settings.result_sink is not None:
            from lambda_app.api.events.sqs import load_sink

            self._sink = load_sink(settings.result_sink)
        self._cold = True

    def open_http(self) -> Mangum:
        """The web layer, built once: importing it is the largest part of a cold start that serves HTTP."""
        if self._adapter is None:
            with self._clock.phase("app"):
                from mangum import Mangum

                # Mangum logs each request's path, which is the caller's text.
                logging.getLogger("mangum").setLevel(logging.ERROR)
                from lambda_app.api.http.app import create_app

                app = create_app(self._service, self._settings.cors_allow_origins)
                self._adapter = Mangum(app, lifespan="off")
        return self._adapter

    def __call__(self, event: Any, context: Any) -> Any:
        """Answers any JSON value. The caller's mistakes come back as typed errors.

        Raises:
            LambdaAppError: a fault of ours, so that Lambda counts it (over HTTP it is a 500 instead).
        """
        started = time.perf_counter()
        invocation = Invocation.from_context(context, self._log, self._service.limits.response_bytes)
        door, answer, outcome = self._answer(event, invocation)
        self._log.info(
            "invocation",
            request_id=invocation.request_id,
            door=door,
            outcome=outcome,
            items=invocation.usage.items,
            tokens=invocation.usage.tokens,
            milliseconds=round((time.perf_counter() - started) * 1000, 2),
            cold=self._cold,
        )
        self._cold = False
        return answer

    def _answer(self, event: Any, invocation: Invocation) -> tuple[str, Any, str]:
        answer: Any
        if gateway.is_http(event):
            answer = self._http(event, invocation)
            return "http", answer, str(answer["statusCode"])
        if _is_warm_up(event):
            return "ping", {"ok": True}, "ok"
        door = "direct"
        try:
            if isinstance(event, dict) and "action" in event:
                answer = self._direct(event, invocation)
            else:
                # Loaded by the first batch: one that answers single events never needs it.
                from lambda_app.api.events import batch
                from lambda_app.api.events import sqs as queue

                if queue.is_queue(event):
                    done = queue.answer_queue(self._direct, event, invocation, self._sink, self._log)
                    outcome = f"{done.failed} of {done.total} failed" if done.failed else "ok"
                    return "queue", done.answer, outcome
                door = "batch"
                if batch.is_items(event):
                    answer = batch.answer_items(self._direct, self._service, event, invocation)
                elif batch.is_list(event):
                    answer = batch.answer_list(self._direct, event, invocation)
                else:
                    raise UnsupportedEventError(
                        "the event is not HTTP and has no action: the README lists events"
                    )
            limit = _response_limit(event, self._service.limits.response_bytes)
            check_size(answer, limit, _items(event, invocation.usage.items))
        except (RequestError, DeadlineError) as error:
            return door, error_object(error), error.code
        except Exception as error:
            invocation.log_fault(error)
            # The original may quote a caller's text in its message, and awslambdaric logs and returns
            # messages.
            if isinstance(error, LambdaAppError):
                raise
            raise LambdaAppError("internal error: the function's log has the cause") from None
        return door, answer, "ok"

    def _http(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        adapter = self.open_http()
        invocation = invocation.with_timeout(HTTP_SECONDS).with_response_limit(gateway.response_limit(event))
        clean = gateway.normalise(event, self._settings.api_base_path)
        origins = self._settings.cors_allow_origins
        try:
            # A browser asks whether it may send a key before it sends one.
            if self._settings.api_keys and not (origins and gateway.is_preflight(clean)):
                from lambda_app.api.http.auth import check_key

                check_key(clean, self._settings.api_keys)
            gateway.normalise_body(clean)
            answer = adapter(clean, cast("Any", invocation))
            check_size(answer, invocation.response_bytes, invocation.usage.items)
        except Exception as error:
            from lambda_app.api.http.error_responses import failure

            told = failure(error, gateway.path(clean), invocation.request_id)
            if told.status == 500:
                invocation.log_fault(error)
            headers = told.headers | gateway.allow_origin(clean, origins)
            return gateway.response(event, told.status, told.body, headers)
        return answer


def _is_warm_up(event: Any) -> bool:
    source = event.get("source") if isinstance(event, dict) and "action" not in event else None
    return isinstance(source, str) and source in WARM_UP_SOURCES


def _items(event: Any, done: int) -> int:
    """How many items the caller can send fewer of: its own count, for a batch."""
    if isinstance(event, list):
        return len(event)
    return len(event["Items"]) if "Items" in event else done


def _response_limit(event: Any, limit: int) -> int:
    """What the caller says that its own envelope holds, if that is less than Lambda's."""
    source = event.get("BatchInput", event) if isinstance(event, dict) else None
    asked = source.get("max_response_bytes") if isinstance(source, dict) else None
    return min(asked, limit) if isinstance(asked, int) else limit
