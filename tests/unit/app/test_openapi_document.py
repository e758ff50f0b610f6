"""The API's description: complete, true to what the routes take and answer, and shown without a network."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lambda_app.api.docs.openapi_document import Operation, document, operations
from lambda_app.api.routes import GETS, POSTS
from lambda_app.limits import ALB_RESPONSE_BYTES
from tests.support.fakes import Context, fake_dispatcher, http_v2
from tests.support.golden_openapi import GOLDEN, rendered
from tests.support.json_schema import resolved, valid

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
ROUTES = {route.path: route for route in operations()}
EXAMPLES = [
    pytest.param(route, body, id=f"{route.path} {name}")
    for route in ROUTES.values()
    for name, body in route.examples.items()
]


def send(path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = DISPATCHER(http_v2(path, body, **options), Context())
    return answer


def schema_of(route: Operation) -> dict[str, Any]:
    """The JSON Schema of a route's body."""
    operation = document()["paths"][route.path]["post"]
    schema: dict[str, Any] = operation["requestBody"]["content"]["application/json"]["schema"]
    return schema


def fields_of(route: Operation) -> list[str]:
    schema = resolved(schema_of(route), COMPONENTS)
    return list(schema["properties"])


COMPONENTS = document()["components"]["schemas"]


def test_the_document_is_as_it_was_last_looked_at() -> None:
    assert rendered() == GOLDEN.read_text(encoding="utf-8"), (
        "python -m tests.support.golden_openapi, and read the diff"
    )


def test_every_route_is_described() -> None:
    paths = [route.path for route in POSTS] + [route.path for route in GETS]
    served = {re.sub(r":\w+}", "}", path) for path in paths}
    assert served == document()["paths"].keys()


@pytest.mark.parametrize(("route", "body"), EXAMPLES)
def test_examples_are_answered_as_described(route: Operation, body: Any) -> None:
    assert route.request is not None
    assert valid(body, schema_of(route), COMPONENTS)
    answer = send(route.path, body)
    assert answer["statusCode"] == 200, answer["body"]
    TypeAdapter(route.answer).validate_json(answer["body"], by_alias=True)


def test_every_route_that_takes_a_body_has_examples() -> None:
    assert [route.path for route in ROUTES.values() if route.request and not route.examples] == []


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/test/embedding", "/info", "/health"])
def test_what_is_read_is_as_described(path: str) -> None:
    name = "/v1/models/{name}" if path.startswith("/v1/models/") else path
    TypeAdapter(ROUTES[name].answer).validate_json(send(path)["body"])


@pytest.mark.parametrize("path", [path for path, route in ROUTES.items() if route.request])
@pytest.mark.parametrize("body", ["{", {}, {"typo": 1}, {"inputs": ""}, {"input": ["x"] * 3_000}])
def test_errors_are_as_described(path: str, body: Any) -> None:
    answer = send(path, body)
    assert answer["statusCode"] in ROUTES[path].statuses
    ROUTES[path].error.model_validate_json(answer["body"])


WORDS = st.sampled_from(
    [
        *("query", "document", "search_query", "float", "base64", "int8", "ubinary", "NONE", "START", "left"),
        *("retrieval.query", "e5:passage", "", "a", "other"),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-1, 5) | st.floats(allow_nan=False) | WORDS
OBJECTS = st.dictionaries(st.sampled_from(["text", "type", "content", "title"]), SCALARS, max_size=2)
VALUES = st.one_of(SCALARS, OBJECTS, st.lists(SCALARS | OBJECTS | st.lists(OBJECTS, max_size=1), max_size=3))
# What is right on the face of it, but cannot be served: told by its message.
MEANING = re.compile(
    "different input types|"
    "must be 4: this model|NUL character|one type here|surrogate|where rank_fields is given|"
    "the rank_fields of|is missing: it must be a list|is empty|leave one of them out|"
    "more tokens than the model takes|"
    # To Python 0 is False, so that pydantic takes it for the literal; JSON Schema does not.
    "(late_chunking|normalized) must be true or false, not a number"
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A route, and an example of it with some fields changed to anything."""
    route = draw(st.sampled_from([route for route in ROUTES.values() if route.request and route.path != "/"]))
    example = dict(draw(st.sampled_from(list(route.examples.values()))))
    names = st.sampled_from(sorted(fields_of(route)))
    return route.path, example | draw(st.dictionaries(names, VALUES, max_size=3))


@given(bodies())
@settings(max_examples=500, deadline=None)
def test_what_is_described_is_what_is_taken(asked: tuple[str, dict[str, Any]]) -> None:
    path, body = asked
    answer = send(path, body)
    described = valid(body, schema_of(ROUTES[path]), COMPONENTS)
    if answer["statusCode"] == 200:
        assert described, body
        TypeAdapter(ROUTES[path].answer).validate_json(answer["body"], by_alias=True)
    else:
        ROUTES[path].error.model_validate_json(answer["body"])
        assert not described or MEANING.search(answer["body"]), (body, answer["body"])


# /openapi.json and /docs


def test_the_document_is_served() -> None:
    answer = send("/openapi.json")
    assert answer["headers"]["content-type"] == "application/json"
    assert json.loads(answer["body"]) == json.loads(GOLDEN.read_text(encoding="utf-8"))


def test_paths_begin_where_the_callers_do() -> None:
    event = http_v2("/prod/openapi.json")
    event["requestContext"]["stage"] = "prod"
    assert json.loads(DISPATCHER(event, Context())["body"])["servers"] == [{"url": "/prod"}]
    rest = {
        "httpMethod": "GET",
        "path": "/openapi.json",
        "resource": "/{proxy+}",
        "headers": {},
        "requestContext": {"stage": "v1", "path": "/v1/openapi.json", "identity": {}},
    }
    assert json.loads(DISPATCHER(rest, Context())["body"])["servers"] == [{"url": "/v1"}]


def test_swagger_ui_comes_from_here() -> None:
    page = send("/docs")
    assert page["headers"]["content-type"].startswith("text/html")
    addresses = re.findall(r"""(?:src|href|url)[=:]\s*["']([^"']+)["']""", page["body"])
    assert sorted(addresses) == ["data:,", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "openapi.json"]
    assert '"validatorUrl": null' in page["body"]
    for name, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        plain = send(f"/docs/{name}")
        assert plain["headers"]["content-type"].startswith(kind)
        packed = send(f"/docs/{name}", headers={"accept-encoding": "gzip, br"})
        assert packed["isBase64Encoded"]
        assert packed["headers"]["content-encoding"] == "gzip"
        assert gzip.decompress(b64decode(packed["body"])).decode() == plain["body"]
        assert len(packed["body"]) < ALB_RESPONSE_BYTES - 10_000


@pytest.mark.parametrize("name", ["favicon.png", "..", "%2e%2e/core.py", "redoc.standalone.js"])
def test_no_other_file_is_served(name: str) -> None:
    answer = send(f"/docs/{name}")
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["error"]["code"] == "not_found"
