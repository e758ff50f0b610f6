"""Which door an event takes: HTTP goes through Mangum to FastAPI, the rest is answered without a web
layer."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lambda_app.api import gateway
from lambda_app.api.direct import DirectDoor
from lambda_app.errors import (
    DeadlineError,
    LambdaAppError,
    RequestError,
    ResponseTooLargeError,
    UnsupportedEventError,
)
from lambda_app.invocation import Invocation
from lambda_app.service import Service, Tally

if TYPE_CHECKING:
    from mangum import Mangum

    from lambda_app.coldstart import PhaseClock
    from lambda_app.logs import JsonLog
    from lambda_app.settings import Settings

# What EventBridge and the usual warm-up plugin call themselves.
WARM_UP_SOURCES = frozenset({"aws.events", "aws.scheduler", "serverless-plugin-warmup"})


class Dispatcher:
    """The handler that Lambda calls, one event at a time."""

    def __init__(self, service: Service, settings: Settings, log: JsonLog, clock: PhaseClock) -> None:
        self._service = service
        self._settings = settings
        self._log = log
        self._clock = clock
        self._direct = DirectDoor(service)
        self._adapter: Mangum | None = None
        self._cold = True

    def open_http(self) -> Mangum:
        """The web layer, built once: importing it is the largest part of a cold start that serves HTTP."""
        if self._adapter is None:
            with self._clock.phase("app"):
                from mangum import Mangum

                # Mangum logs each request's path, which is the caller's text.
                logging.getLogger("mangum").setLevel(logging.ERROR)
                from lambda_app.api.http import create_app

                app = create_app(self._service, self._settings.cors_allow_origins)
                self._adapter = Mangum(app, lifespan="off")
        return self._adapter

    def __call__(self, event: Any, context: Any) -> Any:
        """Answers any JSON value. The caller's mistakes come back as typed errors.

        Raises:
            LambdaAppError: a fault of ours, so that Lambda counts it (over HTTP it is a 500 instead).
        """
        started = time.perf_counter()
        self._service.tally = Tally()
        invocation = Invocation.from_context(context, self._log)
        door, answer, outcome = self._answer(event, context, invocation)
        self._log.info(
            "invocation",
            request_id=invocation.request_id,
            door=door,
            outcome=outcome,
            items=self._service.tally.items,
            tokens=self._service.tally.tokens,
            milliseconds=round((time.perf_counter() - started) * 1000, 2),
            cold=self._cold,
        )
        self._cold = False
        return answer

    def _answer(self, event: Any, context: Any, invocation: Invocation) -> tuple[str, Any, str]:
        if gateway.is_http(event):
            answer = self._http(event, context, invocation.over_http())
            return "http", answer, str(answer["statusCode"])
        if _is_warm_up(event):
            return "ping", {"ok": True}, "ok"
        if _is_queue(event):
            return "queue", self._refuse_queue(event, invocation), "unsupported_event"
        try:
            if not (isinstance(event, dict) and "action" in event):
                raise UnsupportedEventError(
                    "the event is not HTTP and has no action: the README lists events"
                )
            answer = self._direct(event, invocation.deadline)
            self._check_size(answer, self._service.limits.response_bytes)
        except (RequestError, DeadlineError) as error:
            return "direct", _direct_error(error), error.code
        except Exception as error:
            invocation.log_fault(error)
            # The original may quote a caller's text in its message, and awslambdaric logs and returns
            # messages.
            if isinstance(error, LambdaAppError):
                raise
            raise LambdaAppError("internal error: the function's log has the cause") from None
        return "direct", answer, "ok"

    def _http(self, event: Mapping[str, Any], context: Any, invocation: Invocation) -> dict[str, Any]:
        adapter = self.open_http()
        from lambda_app.api.http import INVOCATION

        clean = gateway.normalise(event, self._settings.api_base_path)
        origins = self._settings.cors_allow_origins
        try:
            # A browser asks whether it may send a key before it sends one.
            if self._settings.api_keys and not (origins and gateway.is_preflight(clean)):
                from lambda_app.api.keys import check_key

                check_key(clean, self._settings.api_keys)
            gateway.normalise_body(clean)
            answer = adapter({**clean, INVOCATION: invocation}, context)
            self._check_size(answer, gateway.response_limit(event))
        except Exception as error:
            from lambda_app.api.failures import failure

            told = failure(error, gateway.path(clean), invocation.request_id)
            if told.status == 500:
                invocation.log_fault(error)
            headers = told.headers | gateway.allow_origin(clean, origins)
            return gateway.response(event, told.status, told.body, headers)
        return answer

    def _check_size(self, answer: Mapping[str, Any], limit: int) -> None:
        """Lambda ends the process over an answer past its limit, so it is measured, exactly where it could
        matter."""
        if _rough_size(answer) <= limit:
            return
        size = len(json.dumps(answer))
        if size > limit:
            items = self._service.tally.items
            fit = items * limit // size
            raise ResponseTooLargeError(
                f"the answer has {size} bytes, {limit} fit: send about {fit} of these {items} items at a "
                "time, or ask for base64"
            )

    def _refuse_queue(self, event: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
        """Reports every message as failed: anything else would delete messages that nobody has handled."""
        self._log.error("queue_unsupported", request_id=invocation.request_id, messages=len(event["Records"]))
        failures = [{"itemIdentifier": record.get("messageId")} for record in event["Records"]]
        return {"batchItemFailures": failures}


def _is_warm_up(event: Any) -> bool:
    source = event.get("source") if isinstance(event, dict) and "action" not in event else None
    return isinstance(source, str) and source in WARM_UP_SOURCES


def _is_queue(event: Any) -> bool:
    records = event.get("Records") if isinstance(event, dict) else None
    return (
        isinstance(records, list)
        and bool(records)
        and all(isinstance(record, dict) and record.get("eventSource") == "aws:sqs" for record in records)
    )


def _direct_error(error: LambdaAppError) -> dict[str, Any]:
    detail: dict[str, Any] = {"code": error.code, "message": error.message, "param": error.param}
    if isinstance(error, DeadlineError):
        detail |= {"done": error.done, "total": error.total}
    return {"error": detail}


def _rough_size(answer: Mapping[str, Any]) -> int:
    """An upper bound of the answer's JSON size that costs next to nothing."""
    if "body" in answer:
        # Every character of the body might be escaped, in the worst case to two surrogates of six bytes.
        body = answer["body"]
        return len(body) * (2 if body.isascii() else 12) + 16_384
    vectors = answer.get("embeddings") or [""]
    per_vector = len(vectors[0]) * (1 if isinstance(vectors[0], str) else 26)
    # Rerank results and info are far below any limit.
    return len(vectors) * (per_vector + 4) + len(answer.get("truncated", ())) * 8 + 262_144
