"""Every route with whatever its fields may hold: an answer, or a typed error, small and without the input."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher, http_v2
from tests.support.json_values import JSON_VALUES
from tests.support.provider_bodies import BODIES, FIELDS, PATHS

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
MARKER = "MARKER-7281"


def checked(path: str, body: Any, **options: Any) -> int:
    answer = DISPATCHER(http_v2(path, body, method="POST", **options), Context())
    status = int(answer["statusCode"])
    assert status < 500, answer
    text = answer["body"]
    text.encode("utf-8")
    json.loads(text)
    if status != 200:
        assert len(json.dumps(answer)) < ERROR_BYTES
        assert MARKER not in json.dumps(answer)
    return status


@pytest.mark.parametrize("path", PATHS)
@given(body=BODIES)
@settings(max_examples=150, deadline=None)
def test_any_fields(path: str, body: dict[str, Any]) -> None:
    checked(path, json.dumps(body))


@pytest.mark.parametrize("path", PATHS)
@given(body=JSON_VALUES.map(json.dumps) | st.text(max_size=30) | st.binary(max_size=30).map(repr))
@settings(max_examples=60, deadline=None)
def test_any_body(path: str, body: str) -> None:
    checked(path, body)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", sorted(FIELDS))
def test_a_value_of_the_wrong_shape_is_not_repeated(path: str, name: str) -> None:
    """A large body of wrong types gets a small answer, and nothing of it comes back."""
    good: dict[str, Any] = {"input": "a", "inputs": "a", "texts": ["a"], "query": "a", "documents": ["a"]}
    if path == "/similarity":
        good["inputs"] = {"source_sentence": "a", "sentences": ["a"]}
    deep: Any = {MARKER: [{MARKER: [MARKER] * 10}] * 2_000}
    for wrong in (deep, [deep], {"text": deep}, MARKER, [MARKER, 1], {MARKER: 1}):
        body = {**good, name: wrong}
        answer = DISPATCHER(http_v2(path, json.dumps(body)), Context())
        if answer["statusCode"] != 200:
            assert answer["statusCode"] < 500
            assert len(json.dumps(answer)) < ERROR_BYTES
            # The names of fields come back, values never do.
            answer["headers"].pop("x-ignored-fields", None)
            assert MARKER not in json.dumps(answer)


@pytest.mark.parametrize("path", PATHS)
@given(
    headers=st.dictionaries(
        st.sampled_from(
            ["content-type", "accept", "content-length", "host", "x-forwarded-port", "expect", "é"]
        ),
        JSON_VALUES,
    )
)
@settings(max_examples=25, deadline=None)
def test_any_headers(path: str, headers: dict[str, Any]) -> None:
    assert checked(path, "{", headers=headers) in {400, 422}
