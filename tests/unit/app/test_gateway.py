"""Gateway events: every documented shape reaches the same route."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.api.http import gateway
from tests.support.fakes import Context, fake_dispatcher, http_v2

BODY = json.dumps({"input": ["a"]})


def rest(path: str, full_path: str, **changes: Any) -> dict[str, Any]:
    return {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": "POST",
        "headers": {"Content-Type": "application/json"},
        "multiValueHeaders": {"Content-Type": ["application/json"]},
        "requestContext": {"stage": "prod", "path": full_path, "identity": {"sourceIp": "192.0.2.1"}},
        "body": BODY,
        "isBase64Encoded": False,
    } | changes


def staged_v2(path: str) -> dict[str, Any]:
    event = http_v2(path, BODY)
    event["requestContext"]["stage"] = "prod"
    return event


@pytest.mark.parametrize(
    "event",
    [
        http_v2("/v1/embeddings", BODY),
        staged_v2("/prod/v1/embeddings"),
        staged_v2("/prod/search/v1/embeddings"),
        rest("/v1/embeddings", "/prod/v1/embeddings"),
        rest("/search/v1/embeddings", "/search/v1/embeddings"),
        rest("/prod/v1/embeddings", "/prod/v1/embeddings", version="1.0"),
        {
            "httpMethod": "POST",
            "path": "/v1/embeddings",
            "headers": {"host": "lb.example", "x-forwarded-port": "443"},
            "queryStringParameters": {},
            "requestContext": {"elb": {"targetGroupArn": "arn"}},
            "body": BODY,
            "isBase64Encoded": False,
        },
        {
            "httpMethod": "POST",
            "path": "/v1/embeddings",
            "multiValueHeaders": {"host": ["lb.example"]},
            "multiValueQueryStringParameters": {"a": ["1", "2"]},
            "requestContext": {"elb": {"targetGroupArn": "arn"}},
            "body": BODY,
            "isBase64Encoded": False,
        },
    ],
)
def test_every_gateway_reaches_the_route(event: dict[str, Any]) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_BASE_PATH": "/search"})
    before = json.dumps(event)
    answer = dispatcher(event, Context())
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["object"] == "list"
    assert json.dumps(event) == before


def at(path: str, shape: str) -> dict[str, Any]:
    if shape == "balancer":
        return rest(path, path) | {"requestContext": {"elb": {}}}
    if shape == "rest":
        return rest(path, "/prod" + path)
    return staged_v2("/prod" + path) if shape == "staged" else http_v2(path, BODY)


@pytest.mark.parametrize("shape", ["http", "staged", "rest", "balancer"])
@pytest.mark.parametrize(
    "path",
    [
        *("/embeddings", "/v1/embeddings/", "/v1//embeddings", "//v1/embeddings", "/v1/embeddings//"),
        *("/search/v1/embeddings/", "/search//embeddings", "//search/v1/embeddings"),
        *("/openai/deployments/e5/embeddings", "/openai/deployments//e5/embeddings/"),
        "/openai/v1/embeddings",
    ],
)
def test_other_spellings_of_a_path_are_no_redirect(path: str, shape: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_BASE_PATH": "/search"})
    answer = dispatcher(at(path, shape), Context())
    assert (answer["statusCode"], json.loads(answer["body"]).get("object")) == (200, "list")


def test_doubled_slashes_in_front_of_a_stage() -> None:
    for path in ("//prod//v1/embeddings", "/prod//v1//embeddings/", "//prod/v1/embeddings/"):
        event = staged_v2(path)
        assert gateway.path(gateway.normalise(event, "")) == "/v1/embeddings"


@pytest.mark.parametrize("path", ["/none//", "/v1//none", "//", "/v1/embeddings/x/"])
def test_what_is_no_route_stays_as_it_is(path: str) -> None:
    assert gateway.path(gateway.normalise(http_v2(path), "")) == ("/" if path == "//" else path)


def test_a_route_that_is_named_like_the_stage_is_not_stripped() -> None:
    event = rest("/v1/embeddings", "/v1/v1/embeddings")
    event["requestContext"]["stage"] = "v1"
    assert gateway.normalise(event, "")["path"] == "/v1/embeddings"


def test_the_bare_stage_is_the_root() -> None:
    event = staged_v2("/prod")
    assert gateway.normalise(event, "")["requestContext"]["http"]["path"] == "/"


@pytest.mark.parametrize("event", [None, [], {}, {"requestContext": None}, {"httpMethod": "GET"}])
def test_other_values_are_not_http(event: Any) -> None:
    assert not gateway.is_http(event)


def test_load_balancers_with_multi_value_headers_get_them_back() -> None:
    event = {
        "httpMethod": "POST",
        "path": "/v1/embeddings",
        "multiValueHeaders": {},
        "requestContext": {"elb": {}},
        "body": "!",
        "isBase64Encoded": True,
    }
    answer = fake_dispatcher({"LOG_LEVEL": "ERROR"})(event, Context())
    assert answer["statusCode"] == 400
    assert answer["multiValueHeaders"] == {
        "content-type": ["application/json"],
        "x-request-id": ["request-1"],
    }
