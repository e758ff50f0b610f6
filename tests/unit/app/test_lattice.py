"""VPC Lattice's events: both versions reach the routes, and responses have the form that it reads."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from types import ModuleType
from typing import Any

import pytest
from fastapi import APIRouter, Request, Response

from lambda_app.api.http import gateway
from lambda_app.api.http.lattice import STATUS_BYTES
from lambda_app.limits import LAMBDA_RESPONSE_BYTES, Limits
from scripts.paths import ROOT
from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
BODY = {"input": ["a", "bb"]}
CONTEXT = {
    "serviceNetworkArn": "arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/sn-1",
    "identity": {"sourceVpcArn": "arn:aws:ec2:us-east-1:123456789012:vpc/vpc-1"},
    "timeEpoch": "1773342238000000",
}


def version_1(path: str, body: Any = None, method: str = "POST", **headers: Any) -> dict[str, Any]:
    return {
        "raw_path": path,
        "method": method,
        "headers": {"content-type": "application/json", "x-forwarded-for": "10.0.3.17", **headers},
        "query_string_parameters": {"a": "1"},
        "body": None if body is None else json.dumps(body),
        "is_base64_encoded": False,
    }


def version_2(path: str, body: Any = None, method: str = "POST", **headers: Any) -> dict[str, Any]:
    return {
        "version": "2.0",
        "path": path,
        "method": method,
        "headers": {name: [value] for name, value in headers.items()},
        "queryStringParameters": {"a": ["1", "2"]},
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
        "requestContext": CONTEXT,
    }


VERSIONS = pytest.mark.parametrize("made", [version_1, version_2])


@VERSIONS
def test_an_answer_is_that_of_an_http_api_in_lattices_form(made: Any) -> None:
    answer = DISPATCHER(made("/v1/embeddings", BODY), Context())
    expected = DISPATCHER(http_v2("/v1/embeddings", BODY), Context())
    assert answer == expected | {"statusDescription": "200 OK"}
    assert all(isinstance(value, str) for value in answer["headers"].values())
    missing = DISPATCHER(made("/none", method="GET"), Context())
    assert (missing["statusCode"], missing["statusDescription"]) == (404, "404 Not Found")
    assert json.loads(missing["body"])["error"]["code"] == "not_found"


@VERSIONS
def test_bodies_in_base64(made: Any) -> None:
    event = made("/v1/embeddings", BODY)
    event["body"] = base64.b64encode(json.dumps(BODY).encode()).decode()
    event["is_base64_encoded" if made is version_1 else "isBase64Encoded"] = True
    assert DISPATCHER(event, Context())["statusCode"] == 200
    event["body"] = "!!!"
    assert DISPATCHER(event, Context())["statusCode"] == 400


@VERSIONS
def test_keys_are_asked_for(made: Any) -> None:
    digest = hashlib.sha256(b"right").hexdigest()
    guarded = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_KEYS_SHA256": digest})

    def status(**headers: Any) -> int:
        return int(guarded(made("/v1/embeddings", BODY, **headers), Context())["statusCode"])

    assert status() == 401
    assert status(authorization="Bearer right") == 200
    assert status(Authorization="Bearer right") == 200
    assert status(**{"x-api-key": "right"}) == 200
    assert status(authorization="Bearer wrong") == 401
    assert status(authorization="Bearer right", Authorization="Bearer wrong") == 401
    several = version_2("/v1/embeddings", BODY)
    several["headers"]["authorization"] = ["Bearer wrong", "Bearer right"]
    assert guarded(several, Context())["statusCode"] == 401
    assert guarded(made("/health", method="GET"), Context())["statusDescription"] == "200 OK"


@pytest.mark.parametrize("name", ["lattice-v1-embed.json", "lattice-v2-rerank.json"])
def test_the_samples_are_served(name: str) -> None:
    event = json.loads((ROOT / "events" / name).read_text(encoding="utf-8"))
    assert gateway.is_lattice(event)
    assert DISPATCHER(event, Context())["statusCode"] == 200


def test_a_router_of_the_deployers_own_sees_query_cookies_and_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    router = APIRouter()

    @router.get("/own")
    def own(request: Request, response: Response) -> dict[str, Any]:
        response.set_cookie("b", "2")
        return {
            "query": sorted(request.query_params.multi_items()),
            "cookies": request.cookies,
            "client": request.client and request.client.host,
            "identity": request.scope["aws.event"]["requestContext"]["lattice"].get("identity"),
        }

    module = ModuleType("my_lattice_module")
    monkeypatch.setattr(module, "router", router, raising=False)
    monkeypatch.setitem(sys.modules, "my_lattice_module", module)
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "APP_ROUTERS": "my_lattice_module:router"})
    answer = dispatcher(version_1("/own?c=%20&d", method="GET", cookie="a=1; b=2"), Context())
    assert answer["headers"]["set-cookie"].startswith("b=2")
    assert "cookies" not in answer
    assert json.loads(answer["body"]) == {
        "query": [["c", " "], ["d", ""]],
        "cookies": {"a": "1", "b": "2"},
        "client": "10.0.3.17",
        "identity": None,
    }
    event = version_2("/own", method="GET")
    event["headers"]["cookie"] = ["a=1", "b=2"]
    seen = json.loads(dispatcher(event, Context())["body"])
    assert (seen["query"], seen["cookies"]) == ([["a", "1"], ["a", "2"]], {"a": "1", "b": "2"})
    assert seen["identity"] == CONTEXT["identity"]


@VERSIONS
def test_the_whole_response_stays_inside_lambdas_limit(made: Any) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(text_characters=10_000_000))

    def answered(characters: int) -> tuple[int, int]:
        # A quote takes four bytes of the response: its body is a string of JSON in JSON.
        body = {"query": "q", "documents": ['"' * characters], "return_documents": True}
        answer = dispatcher(made("/v2/rerank", body), Context())
        return answer["statusCode"], len(json.dumps(answer))

    _, small = answered(1_000_000)
    largest = 1_000_000 + (LAMBDA_RESPONSE_BYTES - small) // 4
    status, size = answered(largest - STATUS_BYTES // 4)
    assert (status, size > LAMBDA_RESPONSE_BYTES - 2 * STATUS_BYTES) == (200, True)
    assert size <= LAMBDA_RESPONSE_BYTES
    status, size = answered(largest + 1)
    assert (status, size < ERROR_BYTES) == (413, True)


@pytest.mark.parametrize(
    "event",
    [
        {"raw_path": "/health"},
        {"raw_path": 7, "method": "GET"},
        {"raw_path": "/health", "method": 7},
        {"raw_path": "/health", "method": "GET /"},
        {"version": "2.0", "path": "/health", "method": "GET"},
        {"version": "2.0", "path": None, "method": "GET", "requestContext": {}},
        {"version": "2.0", "path": "/health", "method": "GET", "requestContext": {"http": {}}},
    ],
)
def test_other_events_are_not_lattices(event: Any) -> None:
    assert not gateway.is_lattice(event)


def test_an_http_api_is_not_taken_for_it() -> None:
    assert not gateway.is_lattice({**http_v2("/health"), "method": "GET", "path": "/x"})


@pytest.mark.parametrize("value", [None, 7, "text", [], {"a": None}, {"a": [1, None]}, {"\ud800": "\ud800"}])
@VERSIONS
def test_odd_headers_and_queries_are_left_out(made: Any, value: Any) -> None:
    event = made("/health", method="GET") | {
        "headers": value,
        "query_string_parameters": value,
        "queryStringParameters": value,
        "body": value,
    }
    answer = DISPATCHER(event, Context())
    assert answer["statusCode"] in {200, 400}
    json.dumps(answer).encode("utf-8")
