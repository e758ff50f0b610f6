"""Direct events: what they answer, and one declaration of their fields."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.api.events.direct import EmbedEvent, InfoEvent, RerankEvent
from lambda_app.api.parsing.request import Request
from lambda_app.limits import Limits
from scripts.paths import ROOT
from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher
from tests.support.json_schema import valid

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
EVENTS: dict[str, type[Request]] = {"embed": EmbedEvent, "rerank": RerankEvent, "info": InfoEvent}
EXAMPLES: dict[str, dict[str, Any]] = {
    action: json.loads((ROOT / "events" / f"direct-{action}.json").read_text(encoding="utf-8"))
    for action in EVENTS
}


def call(event: Any) -> Any:
    return DISPATCHER(event, Context())


def test_direct_embed_answers_in_the_callers_order() -> None:
    answer = call({"action": "embed", "texts": ["a", "b" * 20, "cc"], "input_type": "query"})
    assert answer["model"] == "test/embedding"
    assert answer["dimensions"] == 4
    assert answer["usage"] == {"tokens": 23}
    assert answer["truncated"] == [1]
    assert [round(vector[0] / vector[1]) for vector in answer["embeddings"]] == [1, 20, 2]


def test_base64_holds_the_same_floats() -> None:
    texts = ["one", "three"]
    floats = call({"action": "embed", "texts": texts})["embeddings"]
    encoded = call({"action": "embed", "texts": texts, "encoding": "base64"})["embeddings"]
    assert [base64.b64decode(vector) for vector in encoded] == [struct.pack("<4f", *row) for row in floats]


def test_rerank_is_best_first_with_ties_by_index() -> None:
    answer = call({"action": "rerank", "query": "abc", "documents": ["b", "abc", "a", "z"]})
    assert [result["index"] for result in answer["results"]] == [1, 0, 2, 3]
    assert answer["results"][0]["score"] == pytest.approx(0.880797, abs=1e-6)
    raw = call({"action": "rerank", "query": "abc", "documents": ["abc"], "raw_scores": True})
    assert raw["results"] == [{"index": 0, "score": 2.0}]


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"action": "embed"}, "missing_field", "texts"),
        ({"action": "embed", "texts": []}, "invalid_field", "texts"),
        ({"action": "embed", "texts": {}}, "invalid_field", "texts"),
        ({"action": "embed", "texts": ["a", 1]}, "invalid_field", "texts[1]"),
        ({"action": "embed", "texts": ["a", ""]}, "invalid_text", "texts[1]"),
        ({"action": "embed", "texts": ["a\0b"]}, "invalid_text", "texts[0]"),
        ({"action": "embed", "texts": ["\ud800"]}, "invalid_text", "texts[0]"),
        ({"action": "embed", "texts": ["x" * 6_000_000]}, "limit_exceeded", "texts"),
        ({"action": "embed", "texts": ["x" * 300_000]}, "limit_exceeded", "texts[0]"),
        ({"action": "embed", "texts": ["x"] * 3_000}, "limit_exceeded", "texts"),
        ({"action": "rerank", "query": "q", "documents": [""] * 1_000_000}, "limit_exceeded", "documents"),
        ({"action": "embed", "texts": ["a"], "input_type": "question"}, "invalid_field", "input_type"),
        ({"action": "embed", "texts": ["a"], "input_typo": "query"}, "unknown_field", "input_typo"),
        ({"action": "rerank", "query": "", "documents": ["a"]}, "invalid_text", "query"),
        ({"action": "rerank", "query": ["q"], "documents": ["a"]}, "invalid_field", "query"),
        ({"action": "rerank", "query": "q", "documents": ["a"], "top_n": 0}, "invalid_field", "top_n"),
        ({"action": "rerank", "query": "q", "documents": ["a"], "top_n": True}, "invalid_field", "top_n"),
        (
            {"action": "rerank", "query": "q", "documents": ["a"], "top_n": float("nan")},
            "invalid_field",
            "top_n",
        ),
        ({"action": "rerank", "query": "q", "documents": [{"txt": "a"}]}, "invalid_field", "documents[0]"),
        ({"action": "explode"}, "unknown_action", "action"),
        ({"action": ["embed"]}, "unknown_action", "action"),
    ],
)
def test_mistakes_have_stable_codes(event: Any, code: str, param: str | None) -> None:
    error = call(event)["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert len(json.dumps(error)) < ERROR_BYTES


def test_direct_vectors_past_the_envelope_are_refused() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=2_000))
    fits = dispatcher({"action": "embed", "texts": ["a"] * 10}, Context())
    assert len(fits["embeddings"]) == 10
    error = dispatcher({"action": "embed", "texts": ["a"] * 48}, Context())["error"]
    assert error["code"] == "response_too_large"
    assert "send at most" in error["message"]
    assert len(dispatcher({"action": "embed", "texts": ["a"] * error["fit"]}, Context())["embeddings"]) > 20
    error = dispatcher({"action": "embed", "texts": ["a"] * 100}, Context())["error"]
    assert error["code"] == "response_too_large"
    assert "base64" in error["message"]


COMPONENTS: dict[str, Any] = {}


def refer(kind: Any) -> dict[str, Any]:
    COMPONENTS[kind.__name__] = kind.schema(refer)
    return {"$ref": kind.__name__}


SCHEMAS = {action: event.schema(refer) for action, event in EVENTS.items()}
WORDS = st.sampled_from(["query", "document", "none", "float", "base64", "a", "", "other"])
SCALARS = st.none() | st.booleans() | st.integers(-1, 5) | st.floats(allow_nan=False) | WORDS
OBJECTS = st.dictionaries(st.sampled_from(["text", "title"]), SCALARS, max_size=2)
VALUES = SCALARS | OBJECTS | st.lists(SCALARS | OBJECTS, max_size=3)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """An example with some of its fields changed to anything."""
    action = draw(st.sampled_from(sorted(EVENTS)))
    names = st.sampled_from([*(name for name in EVENTS[action].fields if name != "action"), "typo"])
    return EXAMPLES[action] | draw(st.dictionaries(names, VALUES, max_size=3))


@given(events())
@settings(max_examples=500, deadline=None)
def test_the_schema_describes_the_events_that_are_served(event: dict[str, Any]) -> None:
    answer = call(event)
    described = valid(event, SCHEMAS[event["action"]], COMPONENTS)
    if "error" not in answer:
        assert described, event
    elif described:
        # Right by themselves, but not for this model or this response.
        assert answer["error"]["code"] == "response_too_large" or "this model" in answer["error"]["message"]


@pytest.mark.parametrize("action", sorted(EVENTS))
def test_unknown_are_answered_with_the_declared_ones(action: str) -> None:
    error = call({"action": action, "typo": 1})["error"]
    assert error["code"] == "unknown_field"
    assert set(error["message"].partition(" are ")[2].split(", ")) == set(SCHEMAS[action]["properties"])
