"""HTTP as an event source: keys, CORS, body, response size and error format around the application."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import current_thread, main_thread
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from lambda_app.api.http import gateway
from lambda_app.api.response_size import check_size
from lambda_app.coldstart.lazy_modules import lazy_modules
from lambda_app.invocation import Invocation, Result
from lambda_app.limits import LAMBDA_RESPONSE_BYTES
from lambda_app.service.service import Service

if TYPE_CHECKING:
    from mangum import Mangum

    from lambda_app.coldstart.clock import PhaseClock
    from lambda_app.settings import Settings

    Adapter: TypeAlias = Mangum

# API Gateway gives up on an integration after 29 or 30 seconds, whatever the function's own timeout is.
HTTP_SECONDS = 29.0

matches = gateway.is_http


@contextmanager
def _event_loop() -> Iterator[None]:
    """Gives this thread an event loop while its body runs: only the main thread has one by itself."""
    import asyncio

    if current_thread() is main_thread():
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class HttpEndpoint:
    """Answers gateway events with the application, which is built once."""

    def __init__(self, settings: Settings, clock: PhaseClock) -> None:
        """Builds nothing yet: see :meth:`open`."""
        self._settings = settings
        self._clock = clock
        self._adapter: Adapter | None = None

    def open(self, service: Service) -> Adapter:
        """Returns the application behind Mangum, built by the first call.

        Importing it is the largest part of a cold start that serves HTTP.
        """
        if self._adapter is None:
            with self._clock.phase("app"):
                # OpenSSL is two libraries of 6 MB, for connections that nothing here opens.
                with lazy_modules("asyncio.sslproto", "ssl"):
                    from mangum import Mangum

                # Mangum logs paths, and tracebacks with messages: both may be the caller's text.
                logging.getLogger("mangum").setLevel(logging.CRITICAL + 1)
                from lambda_app.api.http.app import create_app

                app = create_app(service, self._settings.cors_allow_origins, self._settings.app_routers)
                self._adapter = Mangum(app, lifespan="off")
        return self._adapter

    def answer(self, service: Service, event: Mapping[str, Any], invocation: Invocation) -> Result:
        """Answers a gateway event. Errors are responses too: this never raises them."""
        if gateway.is_lattice(event):
            from lambda_app.api.http.lattice import STATUS_BYTES, http_event, lattice_response

            invocation = invocation.with_response_limit(LAMBDA_RESPONSE_BYTES - STATUS_BYTES)
            result = self.answer(service, http_event(event), invocation)
            return result._replace(response=lattice_response(result.response))
        adapter = self.open(service)
        invocation = invocation.with_timeout(HTTP_SECONDS).with_response_limit(gateway.response_limit(event))
        invocation = invocation._replace(refuses_unknown=self._settings.refuses_unknown_fields)
        clean = gateway.normalise(event, self._settings.api_base_path)
        response: dict[str, Any]
        try:
            self._check_key(clean)
            gateway.normalise_body(clean)
            # Mangum puts its second argument into the ASGI scope, and reads nothing of it.
            with _event_loop():
                response = adapter(clean, cast("Any", invocation))
            check_size(response, invocation.response_bytes, invocation.usage.items)
        except Exception as error:
            response = self._error_response(error, event, clean, invocation)
        if gateway.path(clean).startswith("/snowflake/"):
            from lambda_app.api.http.batch_headers import add_batch_headers

            add_batch_headers(clean, response)
        return Result(response, str(response["statusCode"]))

    def _check_key(self, clean: Mapping[str, Any]) -> None:
        # A browser asks whether it may send a key before it sends one.
        preflight = self._settings.cors_allow_origins and gateway.is_preflight(clean)
        if self._settings.api_keys and not preflight:
            from lambda_app.api.http.auth import check_key

            check_key(clean, self._settings.api_keys, docs_public=self._settings.docs_public)

    def _error_response(
        self, error: Exception, event: Mapping[str, Any], clean: Mapping[str, Any], invocation: Invocation
    ) -> dict[str, Any]:
        from lambda_app.api.http.error_responses import allow_origin, failure, gateway_response

        failed = failure(error, gateway.path(clean), invocation)
        invocation.usage.code = failed.code
        if failed.status == 500:
            invocation.log_fault(error)
        headers = failed.headers | allow_origin(clean, self._settings.cors_allow_origins)
        return gateway_response(event, failed.status, failed.body, headers)
