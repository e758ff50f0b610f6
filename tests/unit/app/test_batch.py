"""Many requests in one invocation: Distributed Map's shape, and lists of events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.dispatch import Dispatcher
from lambda_app.errors import LambdaAppError
from lambda_app.limits import LAMBDA_RESPONSE_BYTES, Limits
from tests.support.fakes import ERROR_BYTES, Context, FakeEmbedder, fake_dispatcher
from tests.support.json_values import JSON_VALUES

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
EMBED = {"action": "embed", "input_type": "query"}


def call(event: Any, seconds: float = 30.0) -> Any:
    return DISPATCHER(event, Context(seconds=seconds))


def items(batch_input: Any, *values: Any) -> Any:
    return call({"BatchInput": batch_input, "Items": list(values)})


def test_items_are_texts_of_one_request() -> None:
    answer = items(EMBED, "a", {"text": "bbb", "id": 7}, "b" * 20)
    plain = call({**EMBED, "texts": ["a", "bbb", "b" * 20]})
    assert answer == plain | {"errors": []}


def test_an_item_that_cannot_be_served_does_not_spoil_the_others() -> None:
    answer = items(EMBED, "", "a", None, "b" * 20, "\ud800", {"texte": "x"}, "x\0")
    plain = call({**EMBED, "texts": ["a", "b" * 20]})
    vectors = plain.pop("embeddings")
    assert answer["embeddings"] == [None, vectors[0], None, vectors[1], None, None, None]
    assert answer["truncated"] == [3]
    assert [(error["index"], error["code"]) for error in answer["errors"]] == [
        (0, "invalid_text"),
        (2, "invalid_field"),
        (4, "invalid_text"),
        (5, "invalid_field"),
        (6, "invalid_text"),
    ]
    assert answer["errors"][1]["param"] == "Items[2]"


def test_items_are_documents_where_the_batch_has_a_query() -> None:
    shared = {"action": "rerank", "query": "abc", "top_n": 3}
    answer = items(shared, "zz", None, "abc", {"text": "ab"})
    assert [result["index"] for result in answer["results"]] == [2, 3, 0]
    assert [error["index"] for error in answer["errors"]] == [1]
    answer = items({**shared, "top_n": None}, "", "zz", "\0", "abc")
    assert [result["index"] for result in answer["results"]] == [3, 1, 0]
    assert [error["index"] for error in answer["errors"]] == [2]


def test_items_are_events_otherwise() -> None:
    answer = items(
        {"action": "rerank", "top_n": 1},
        {"query": "abc", "documents": ["z", "abc"], "id": "first"},
        {"query": "q", "documents": []},
        {"query": "abc", "documents": ["a", "ab"], "top_n": 2},
        "text",
    )
    first, second, third, fourth = answer["answers"]
    assert first["id"] == "first"
    assert [result["index"] for result in first["results"]] == [1]
    assert second["error"]["code"] == "invalid_field"
    assert [result["index"] for result in third["results"]] == [1, 0]
    assert fourth["error"]["code"] == "missing_field"


def test_without_batch_input_each_item_says_what_it_wants() -> None:
    event = {"Items": [{"action": "embed", "texts": ["a"]}, {"action": "ping"}]}
    first, second = call(event)["answers"]
    assert first == call({"action": "embed", "texts": ["a"]})
    assert second == {"ok": True}


@pytest.mark.parametrize(
    ("event", "code", "param"),
    [
        ({"BatchInput": EMBED, "Items": []}, "invalid_field", "Items"),
        ({"BatchInput": EMBED, "Items": "text"}, "invalid_field", "Items"),
        ({"BatchInput": EMBED, "Items": None}, "invalid_field", "Items"),
        ({"BatchInput": "embed", "Items": ["a"]}, "invalid_field", None),
        ({"BatchInput": EMBED, "Items": ["", "a\0"]}, "invalid_text", "Items[0]"),
        ({"BatchInput": EMBED, "Items": ["a"] * 2_049}, "limit_exceeded", "Items"),
        ({"BatchInput": {**EMBED, "input_typo": 1}, "Items": ["a"]}, "unknown_field", "input_typo"),
        (
            {"BatchInput": {**EMBED, "max_response_bytes": "1"}, "Items": ["a"]},
            "invalid_field",
            "max_response_bytes",
        ),
        ({"BatchInput": EMBED, "Items": ["a"], "more": 1}, "unknown_field", "more"),
    ],
)
def test_mistakes_of_the_whole_batch(event: Any, code: str, param: str | None) -> None:
    error = call(event)["error"]
    assert (error["code"], error["param"]) == (code, param)
    assert len(json.dumps(error)) < ERROR_BYTES


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_an_answer_past_the_callers_envelope_tells_how_many_items_fit(encoding: str) -> None:
    shared = {**EMBED, "encoding": encoding, "max_response_bytes": 2_000}
    texts = [f"text {number}" for number in range(200)]
    error = items(shared, *texts)["error"]
    assert error["code"] == "response_too_large"
    for _ in range(3):
        answer = items(shared, *texts[: error["fit"]])
        if "error" not in answer:
            break
        error = answer["error"]
    assert len(json.dumps(answer)) <= 2_000
    assert len(answer["embeddings"]) == error["fit"]
    # Of floats it is known before any work how many fit in any case; these short ones fit a few more.
    beyond = 2 if encoding == "base64" else error["fit"]
    more = items(shared, *texts[: error["fit"] + beyond])
    assert more["error"]["code"] == "response_too_large"


def sized(limit: int, limits: Limits | None = None) -> tuple[Dispatcher, dict[str, Any]]:
    return fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=limits), {"max_response_bytes": limit}


@pytest.mark.parametrize("shape", ["direct", "items", "list"])
def test_one_byte_around_the_limit(shape: str) -> None:
    """The size of an answer that just fits, found by asking, is the limit to the byte."""
    event: Any = {"action": "embed", "texts": ["a", "bb", "ccc"]}
    if shape == "items":
        event = {"BatchInput": {"action": "embed"}, "Items": ["a", "bb", "ccc"]}
    if shape == "list":
        event = [{"action": "embed", "texts": ["a"], "id": 1}, {"action": "ping"}]
    size = len(json.dumps(call(event)))
    for limit, fits in ((size + 1, True), (size, True), (size - 1, False)):
        answer = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=limit))(
            event, Context()
        )
        assert ("error" not in answer) == fits
        if not fits:
            assert answer["error"]["code"] == "response_too_large"
    if shape != "list":
        shared = event["BatchInput"] if shape == "items" else event
        for limit, fits in ((size, True), (size - 1, False)):
            shared["max_response_bytes"] = limit
            assert ("error" not in call(event)) == fits


def test_no_more_than_lambda_holds_can_be_asked_for() -> None:
    event = {"action": "embed", "texts": ["a"] * 3, "max_response_bytes": 2 * LAMBDA_RESPONSE_BYTES}
    small = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=Limits(response_bytes=100))
    assert small(event, Context())["error"]["code"] == "response_too_large"


def message(body: Any, number: int = 0) -> dict[str, Any]:
    text = body if isinstance(body, str) else json.dumps(body)
    return {"messageId": f"m-{number}", "eventSource": "aws:sqs", "body": text}


def test_a_list_has_an_answer_for_each_event() -> None:
    events = [
        {"action": "embed", "texts": ["a"], "id": "doc-1"},
        {"action": "rerank", "query": "abc", "documents": ["z", "abc"]},
        {"action": "embed"},
        message({"action": "embed", "texts": ["a"], "id": 12}, 3),
        message("{", 4),
    ]
    first, second, third, fourth, fifth = call(events)
    vectors = call({"action": "embed", "texts": ["a"]})
    assert first == {"id": "doc-1", **vectors}
    assert second["results"][0]["index"] == 1
    assert third["error"]["code"] == "missing_field"
    assert fourth == {"messageId": "m-3", "id": 12, **vectors}
    assert (fifth["messageId"], fifth["error"]["code"]) == ("m-4", "invalid_json")


@pytest.mark.parametrize("value", [[], ["text"], [{}], [{"action": "ping"}, 1], [[]], [None]])
def test_other_lists_are_no_batch(value: Any) -> None:
    assert call(value)["error"]["code"] == "unsupported_event"


@pytest.mark.parametrize("value", ["x" * 257, "\ud800", True, 1.5, [], {}, 2**63])
def test_an_id_is_short_and_may_leave(value: Any) -> None:
    (answer,) = call([{"action": "ping", "id": value}])
    assert (answer["error"]["code"], answer["error"]["param"]) == ("invalid_field", "id")
    json.dumps(answer, ensure_ascii=False).encode("utf-8")


def test_the_same_batch_has_the_same_answer() -> None:
    event = {"BatchInput": EMBED, "Items": ["a", "", "bb"]}
    before = json.dumps(event)
    assert call(event) == call(event)
    assert json.dumps(event) == before


def test_the_deadline_counts_items() -> None:
    error = call({"BatchInput": EMBED, "Items": ["a", "b"]}, seconds=0.1)["error"]
    assert (error["code"], error["done"], error["total"]) == ("deadline_exceeded", 0, 2)
    answers = call([{"action": "embed", "texts": ["a"]}] * 2, seconds=0.1)
    assert [answer["error"]["code"] for answer in answers] == ["deadline_exceeded"] * 2


class Broken(FakeEmbedder):
    def embed(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError("SECRET")


def test_faults_raise() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = Broken()  # type: ignore[misc,assignment]
    for event in ([{"action": "embed", "texts": ["a"]}], {"BatchInput": EMBED, "Items": ["a"]}):
        with pytest.raises(LambdaAppError, match="internal error"):
            dispatcher(event, Context())


def test_the_log_counts_all_items(capsys: pytest.CaptureFixture[str]) -> None:
    fake_dispatcher({})([{"action": "embed", "texts": ["aa", "b"]}] * 3, Context())
    line = json.loads(capsys.readouterr().out)
    assert (line["source"], line["items"], line["tokens"]) == ("batch", 6, 9)


@given(
    st.fixed_dictionaries(
        {"Items": st.lists(JSON_VALUES | st.text(max_size=5), max_size=5) | JSON_VALUES},
        optional={
            "BatchInput": st.dictionaries(
                st.sampled_from(
                    ["action", "texts", "query", "documents", "top_n", "id", "max_response_bytes"]
                ),
                st.sampled_from(["embed", "rerank", "info", 5]) | JSON_VALUES,
            )
            | JSON_VALUES
        },
    )
    | st.lists(
        st.fixed_dictionaries({"action": st.sampled_from(["embed", "rerank"])}, optional={"id": JSON_VALUES})
        | st.fixed_dictionaries(
            {"eventSource": st.just("aws:sqs"), "body": JSON_VALUES, "messageId": JSON_VALUES}
        ),
        max_size=4,
    )
)
@settings(max_examples=400, deadline=None)
def test_any_batch_gets_an_answer_or_a_typed_error(event: Any) -> None:
    answer = call(event)
    assert isinstance(answer, dict | list)
    json.dumps(answer, ensure_ascii=False, allow_nan=False).encode("utf-8")
