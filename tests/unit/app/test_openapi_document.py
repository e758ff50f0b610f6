"""The API's description: complete, true to what the routes take and answer, and shown without a network."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from lambda_app.api.docs.openapi_document import Operation, document, operations
from lambda_app.api.routes import GETS, POSTS
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
    "the rank_fields of|is missing: it must be (a string or )?a list|is empty|leave one of them out|"
    "more tokens than the model takes|cannot come back as it was sent|"
    # Objects without a text are for rank_fields.
    r"documents\[\d+\] must be a string or|"
    # To Python 0 is False, so that pydantic takes it for the literal; JSON Schema does not.
    "(late_chunking|normalized) must be true or false, not a number"
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A route, and an example of it with some fields changed to anything."""
    one_of_two = {"/", "/rerank"}
    described = [route for route in ROUTES.values() if route.request and route.path not in one_of_two]
    route = draw(st.sampled_from(described))
    example = dict(draw(st.sampled_from(list(route.examples.values()))))
    names = st.sampled_from(sorted(fields_of(route)))
    return route.path, example | draw(st.dictionaries(names, VALUES, max_size=3))


@given(bodies())
@example(("/v2/embed", {"inputs": None}))
@settings(max_examples=200, deadline=None)
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


def test_paths_begin_where_the_callers_do_behind_a_load_balancer() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_BASE_PATH": "/search"})
    event = {
        "httpMethod": "GET",
        "path": "/search//openapi.json/",
        "headers": {},
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
    }
    assert json.loads(dispatcher(event, Context())["body"])["servers"] == [{"url": "/search"}]
