"""HTTP around the application: what is refused before inference, and what passes on."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from lambda_app.api.http import endpoint, gateway
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.invocation import Result
from lambda_app.limits import ALB_RESPONSE_BYTES, LAMBDA_RESPONSE_BYTES
from lambda_app.service.service import Service
from lambda_app.settings import Settings
from tests.support.api_calls import send
from tests.support.fakes import (
    FakeEmbedder,
    FakeReranker,
    fake_dispatcher,
    fake_service,
    http_v2,
    invocation,
    model_info,
)


def wide_service() -> Service:
    """A service whose model says that its vectors have 768 numbers."""
    service = fake_service()
    service.registry.embedder = FakeEmbedder(model_info("embedding", dimensions=768))  # type: ignore[misc,assignment]
    return service


def answer(service: Service, event: dict[str, Any], **environ: str) -> Result:
    http = endpoint.HttpEndpoint(Settings.from_env(environ), PhaseClock())
    return http.answer(service, event, invocation(request_id="id-1"))


def alb(path: str, body: Any) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "path": path,
        "headers": {"content-type": "application/json"},
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
        "body": json.dumps(body),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embed", "/v2/embed"])
def test_vectors_that_a_load_balancer_cannot_carry_are_not_computed(path: str) -> None:
    texts = ["a"] * 200
    body = {
        "/v1/embeddings": {"input": texts},
        "/embed": {"inputs": texts},
        "/v2/embed": {"texts": texts, "input_type": "search_document"},
    }[path]
    service = wide_service()
    embedder: Any = service.registry.embedder
    response, outcome = answer(service, alb(path, body))
    assert outcome == "413"
    assert f"{ALB_RESPONSE_BYTES} bytes" in response["body"]
    assert embedder.asked == {}
    # Behind API Gateway the same texts fit.
    assert answer(service, http_v2(path, body)).outcome == "200"
    assert embedder.asked != {}


@pytest.mark.parametrize(
    ("path", "field"),
    [("/v1/rerank", "return_documents"), ("/v2/rerank", "return_documents"), ("/rerank", "return_text")],
)
def test_a_wrong_flag_of_the_response_is_refused_before_inference(path: str, field: str) -> None:
    service = fake_service()
    documents = "texts" if path == "/rerank" else "documents"
    event = http_v2(path, {"query": "q", documents: ["a"], field: "yes"})
    assert answer(service, event).outcome in {"400", "422"}
    reranker = service.registry.reranker
    assert isinstance(reranker, FakeReranker)
    assert reranker.asked == {}


def test_the_invocation_reaches_the_route() -> None:
    record = invocation(request_id="id-7")
    http = endpoint.HttpEndpoint(Settings.from_env({}), PhaseClock())
    response, outcome = http.answer(fake_service(), http_v2("/v1/embeddings", {"input": ["a", "bb"]}), record)
    assert outcome == "200"
    assert response["headers"]["x-request-id"] == "id-7"
    assert (record.usage.items, record.usage.tokens) == (2, 3)


def test_the_application_is_built_once() -> None:
    http = endpoint.HttpEndpoint(Settings.from_env({}), PhaseClock())
    service = fake_service()
    assert http.open(service) is http.open(service)


@pytest.mark.parametrize(("elb", "limit"), [(True, ALB_RESPONSE_BYTES), (False, LAMBDA_RESPONSE_BYTES)])
def test_the_envelope_of_the_caller(elb: bool, limit: int) -> None:
    event = alb("/", {}) if elb else http_v2("/", {})
    assert gateway.response_limit(event) == limit


def test_a_base64_body_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    original = base64.b64decode

    def counting(*arguments: Any, **options: Any) -> bytes:
        decoded.append(arguments)
        return original(*arguments, **options)

    monkeypatch.setattr(base64, "b64decode", counting)
    body = base64.b64encode(json.dumps({"input": "héllo"}).encode()).decode()
    event = {**http_v2("/v1/embeddings", body), "isBase64Encoded": True}
    assert answer(fake_service(), event).outcome == "200"
    assert len(decoded) == 1


def test_a_preflight_passes_without_a_key_and_a_request_does_not() -> None:
    environ = {"API_KEYS_SHA256": "0" * 64, "CORS_ALLOW_ORIGINS": "https://a.example"}
    headers = {"origin": "https://a.example", "access-control-request-method": "POST"}
    preflight = http_v2("/v1/embeddings", method="OPTIONS", headers=headers)
    assert answer(fake_service(), preflight, **environ).outcome == "200"
    response, outcome = answer(
        fake_service(), http_v2("/v1/embeddings", {"input": "a"}, headers=headers), **environ
    )
    assert outcome == "401"
    assert response["headers"]["access-control-allow-origin"] == "https://a.example"
    # The key is checked before the body is read.
    assert answer(fake_service(), http_v2("/v1/embeddings", "\ud800"), **environ).outcome == "401"


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v2/embed", "/embed"])
def test_errors_before_the_application_have_the_format_of_the_route(path: str) -> None:
    event = {**http_v2(path, "!!!"), "isBase64Encoded": True}
    response, _ = answer(fake_service(), event)
    error = json.loads(response["body"])
    expected = {
        "/v1/embeddings": {"error", "detail"},
        "/v2/embed": {"id", "message", "code", "param"},
        "/embed": {"error", "error_type", "code", "param"},
    }[path]
    assert set(error) == expected
    assert response["headers"]["x-request-id"] == "id-1"


@pytest.mark.parametrize("path", ["/health", "/info", "/v1/models"])
def test_head_has_no_body(path: str) -> None:
    answer = send(path, method="HEAD")
    assert answer["statusCode"] == 200
    assert answer["body"] == ""


PREFLIGHT = {"origin": "https://a.example", "access-control-request-method": "POST"}

KEYS = {"API_KEYS_SHA256": "0" * 64}


def test_no_page_may_call_unless_it_is_named() -> None:
    answer = send("/v1/models", headers=PREFLIGHT)
    assert [name for name in answer["headers"] if name.startswith("access-control")] == []
    assert send("/v1/embeddings", method="OPTIONS", headers=PREFLIGHT)["statusCode"] == 405


@pytest.mark.parametrize("origins", ["*", "https://b.example, https://a.example"])
def test_named_pages_may_call(origins: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "CORS_ALLOW_ORIGINS": origins, **KEYS})
    asked = PREFLIGHT | {"access-control-request-headers": "authorization, content-type"}
    answer = send("/v1/embeddings", dispatcher=dispatcher, method="OPTIONS", headers=asked)
    allowed = "*" if origins == "*" else "https://a.example"
    assert answer["statusCode"] == 200
    assert answer["headers"]["access-control-allow-origin"] == allowed
    assert "authorization" in answer["headers"]["access-control-allow-headers"].lower()
    # What is refused before the application can be read too.
    answer = send("/v1/embeddings", {"input": "a"}, dispatcher, headers=PREFLIGHT)
    assert answer["statusCode"] == 401
    assert answer["headers"]["access-control-allow-origin"] == allowed
    # Without the header of a preflight, OPTIONS is a request like any other.
    assert send("/info", dispatcher=dispatcher, method="OPTIONS")["statusCode"] == 401


def test_other_pages_may_not() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "CORS_ALLOW_ORIGINS": "https://b.example", **KEYS})
    answer = send("/v1/embeddings", dispatcher=dispatcher, method="OPTIONS", headers=PREFLIGHT)
    assert answer["statusCode"] == 400
    assert "access-control-allow-origin" not in answer["headers"]
    answer = send("/v1/embeddings", {"input": "a"}, dispatcher, headers=PREFLIGHT)
    assert "access-control-allow-origin" not in answer["headers"]
