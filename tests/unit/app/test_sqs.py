"""SQS: one poison message fails alone, and answers go where RESULT_SINK says."""

from __future__ import annotations

import json
import re
import sys
import time
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.api.events import sinks
from lambda_app.errors import ConfigurationError
from scripts.paths import ROOT
from tests.support.fakes import Context, FakeEmbedder, fake_dispatcher
from tests.support.json_values import JSON_VALUES

GOOD = {"action": "embed", "texts": ["a", "bb"], "id": "doc-1"}
POISON = [
    "{",
    "[]",
    "7",
    "",
    "\ud800",
    json.dumps({"action": "explode"}),
    json.dumps({"action": "embed"}),
    json.dumps({"action": "embed", "texts": [""]}),
    json.dumps({"action": "rerank", "query": "q", "documents": []}),
    None,
    {"action": "ping"},
]


def record(identifier: Any, body: Any, **changes: Any) -> dict[str, Any]:
    return {
        "messageId": identifier,
        "receiptHandle": "handle",
        "body": body,
        "attributes": {"ApproximateReceiveCount": "1"},
        "messageAttributes": {},
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:eu-west-1:012345678912:texts",
        **changes,
    }


def good(identifier: Any, **changes: Any) -> dict[str, Any]:
    return record(identifier, json.dumps(GOOD), **changes)


def failures(answer: Any) -> list[str]:
    assert answer.keys() == {"batchItemFailures"}
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


class Store:
    """A sink that keeps what it gets, or raises."""

    def __init__(self) -> None:
        self.calls: list[list[dict[str, Any]]] = []
        self.error: Exception | None = None

    def __call__(self, results: list[dict[str, Any]]) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(results)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    module = ModuleType("a_users_module")
    module.store = store = Store()  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    return store


def with_sink(**environ: str) -> Any:
    return fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "a_users_module:store"} | environ)


@pytest.mark.parametrize("poison", POISON, ids=repr)
def test_one_poison_message_fails_alone(store: Store, poison: Any) -> None:
    answer = with_sink()({"Records": [good("1"), record("2", poison), good("3")]}, Context())
    assert failures(answer) == ["2"]
    (results,) = store.calls
    assert [result["message_id"] for result in results] == ["1", "3"]


def notification(message: Any, **changes: Any) -> str:
    return json.dumps(
        {
            "Type": "Notification",
            "MessageId": "1",
            "TopicArn": "arn:aws:sns:eu-west-1:012345678912:texts",
            "Message": message,
            "MessageAttributes": {},
            **changes,
        }
    )


def test_a_notification_is_unwrapped(store: Store) -> None:
    records = [record("1", notification(json.dumps(GOOD))), good("2")]
    assert failures(with_sink()({"Records": records}, Context())) == []
    first, second = store.calls[0]
    assert first["event"] == second["event"] == GOOD
    assert first["answer"] == second["answer"]


@pytest.mark.parametrize("message", ["{", None, 7, "[]", '{"action": "explode"}', notification("{}")])
def test_a_notification_without_an_event_fails(store: Store, message: Any) -> None:
    records = [record("1", notification(message)), good("2")]
    assert failures(with_sink()({"Records": records}, Context())) == ["1"]


def test_all_poison_fails_all_without_raising(store: Store) -> None:
    records = [record(str(number), poison) for number, poison in enumerate(POISON)]
    assert failures(with_sink()({"Records": records}, Context())) == [r["messageId"] for r in records]
    assert store.calls == []


def test_the_sink_gets_each_event_with_its_answer(store: Store) -> None:
    attributes = {"tenant": {"stringValue": "a", "dataType": "String"}}
    dispatcher = with_sink()
    assert failures(dispatcher({"Records": [good("1", messageAttributes=attributes)]}, Context())) == []
    ((result,),) = store.calls
    assert result == {
        "message_id": "1",
        "attributes": attributes,
        "event": GOOD,
        "answer": {"id": "doc-1", **dispatcher({"action": "embed", "texts": ["a", "bb"]}, Context())},
    }


def test_messages_come_back_when_the_sink_fails(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    store.error = OSError("SECRET")
    answer = with_sink()({"Records": [good("1"), record("2", "{"), good("3")]}, Context())
    assert sorted(failures(answer)) == ["1", "2", "3"]
    output = capsys.readouterr().out
    assert "OSError" in output
    assert "SECRET" not in output


def test_the_same_message_twice_gives_the_same_answer(store: Store) -> None:
    dispatcher = with_sink()
    dispatcher({"Records": [good("1"), good("2")]}, Context())
    dispatcher({"Records": [good("2"), record("3", "{")]}, Context())
    assert store.calls[0][1] == store.calls[1][0]


def test_without_a_sink_all_messages_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "WARNING"})
    answer = dispatcher({"Records": [good("1"), record("2", "{")]}, Context())
    assert failures(answer) == ["1", "2"]
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (line["event"], line["level"], line["messages"]) == ("result_sink_missing", "ERROR", 2)
    assert "RESULT_SINK" in line["reason"]


def test_nothing_is_embedded_without_a_sink(capsys: pytest.CaptureFixture[str]) -> None:
    fake_dispatcher()({"Records": [good("1")]}, Context())
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (line["source"], line["outcome"], line["items"]) == ("queue", "1 of 1 failed", 0)


def test_results_are_thrown_away_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "WARNING", "RESULT_SINK": "discard"})
    assert failures(dispatcher({"Records": [good("1"), record("2", "{")]}, Context())) == ["2"]
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["message_id"]) for line in lines] == [("message_failed", "2")]


def test_a_fifo_queue_keeps_its_order(store: Store) -> None:
    arn = {"eventSourceARN": "arn:aws:sqs:eu-west-1:012345678912:texts.fifo"}
    records = [good("1", **arn), record("2", "{", **arn), good("3", **arn)]
    assert failures(with_sink()({"Records": records}, Context())) == ["2", "3"]
    assert [result["message_id"] for result in store.calls[0]] == ["1"]


class Moody(FakeEmbedder):
    """Fails as a bug would, on one text."""

    def embed(self, texts: Any, *arguments: Any, **options: Any) -> Any:
        if "SECRET" in texts:
            raise RuntimeError(f"cannot handle {texts}")
        return super().embed(texts, *arguments, **options)


def test_a_fault_of_ours_fails_its_message_alone(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = with_sink()
    dispatcher._service.registry.embedder = Moody()
    bad = json.dumps({"action": "embed", "texts": ["SECRET"]})
    assert failures(dispatcher({"Records": [record("1", bad), good("2")]}, Context())) == ["1"]
    output = capsys.readouterr().out
    assert "RuntimeError" in output
    assert "SECRET" not in output


def test_messages_whose_time_ran_out_come_back(store: Store) -> None:
    answer = with_sink()({"Records": [good("1"), good("2")]}, Context(seconds=0.1))
    assert failures(answer) == ["1", "2"]


def test_results_go_to_the_sink_in_portions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [good(str(number)) for number in range(250)]
    assert failures(with_sink()({"Records": records}, Context())) == []
    assert [len(results) for results in store.calls] == [100, 100, 50]
    store.calls.clear()
    monkeypatch.setattr(sinks, "PORTION_BYTES", 1)
    assert failures(with_sink()({"Records": records[:3]}, Context())) == []
    assert [len(results) for results in store.calls] == [1, 1, 1]


def test_only_the_portion_that_the_sink_did_not_take_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "PORTION_MESSAGES", 2)
    taken: list[str] = []

    def sink(results: list[dict[str, Any]]) -> None:
        if results[0]["message_id"] == "2":
            raise OSError
        taken.extend(result["message_id"] for result in results)

    monkeypatch.setattr(sys.modules["a_users_module"], "store", sink)
    records = [good(str(number)) for number in range(6)]
    assert failures(with_sink()({"Records": records}, Context())) == ["2", "3"]
    assert taken == ["0", "1", "4", "5"]
    arn = {"eventSourceARN": "arn:aws:sqs:eu-west-1:012345678912:texts.fifo"}
    taken.clear()
    records = [good(str(number), **arn) for number in range(6)]
    assert failures(with_sink()({"Records": records}, Context())) == ["2", "3", "4", "5"]
    assert taken == ["0", "1"]


def test_a_slow_sink_leaves_what_it_has_no_time_for(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sinks, "PORTION_MESSAGES", 1)
    monkeypatch.setattr(sys.modules["a_users_module"], "store", lambda results: time.sleep(0.1))
    started = time.monotonic()
    records = [good(str(number)) for number in range(1_000)]
    failed = failures(with_sink(LOG_LEVEL="WARNING")({"Records": records}, Context(seconds=0.7)))
    assert time.monotonic() - started < 5  # all of them take 100 seconds
    assert 990 < len(failed) < 1_000
    assert failed == [str(number) for number in range(1_000 - len(failed), 1_000)]
    (line,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (line["event"], line["messages"]) == ("messages_not_begun", len(failed))


@pytest.mark.parametrize(
    "name", ["nowhere:store", "json:nothing", "math:pi", "tests.support.fakes.Context:store"]
)
def test_a_sink_that_is_not_there_is_found_in_init(name: str) -> None:
    with pytest.raises(ConfigurationError, match="RESULT_SINK"):
        fake_dispatcher({"RESULT_SINK": name})


def fenced(language: str) -> list[str]:
    page = (ROOT / "docs" / "BULK.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def test_the_pages_message_and_sink_work(monkeypatch: pytest.MonkeyPatch) -> None:
    (snippet,) = fenced("python")
    _, body = fenced("json")
    stored: dict[str, Any] = {}

    class Bucket:
        def put_object(self, *, Bucket: str, Key: str, Body: str) -> None:  # noqa: N803
            stored[f"{Bucket}/{Key}"] = json.loads(Body)

    boto3 = ModuleType("boto3")
    monkeypatch.setattr(boto3, "client", lambda service: Bucket(), raising=False)
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    monkeypatch.setenv("RESULT_BUCKET", "my-bucket")
    module = ModuleType("results")
    exec(compile(snippet, "BULK.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "results", module)
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "results:store"})
    assert failures(dispatcher({"Records": [record("1", body)]}, Context())) == []
    assert stored["my-bucket/vectors/1.json"]["id"] == "doc-1"


def test_the_pages_state_machine_sends_what_the_function_takes() -> None:
    machine = json.loads(fenced("json")[0])
    embed = machine["States"]["Embed"]
    event = {"BatchInput": embed["ItemBatcher"]["BatchInput"], "Items": [{"text": "a"}, "b"]}
    answer = fake_dispatcher({"LOG_LEVEL": "ERROR"})(event, Context())
    assert len(answer["embeddings"]) == 2
    states = embed["ItemProcessor"]["States"]
    targets = [state["Next"] for state in states.values() if "Next" in state]
    targets += [choice["Next"] for choice in states["Served"]["Choices"]] + [states["Served"]["Default"]]
    assert set(targets) | {embed["ItemProcessor"]["StartAt"]} == set(states)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"eventSource": st.just("aws:sqs")},
            optional={
                "body": JSON_VALUES | JSON_VALUES.map(json.dumps) | st.just(json.dumps(GOOD)),
                "messageId": JSON_VALUES | st.text(st.characters(codec=None, exclude_categories=())),
                "messageAttributes": JSON_VALUES,
                "eventSourceARN": JSON_VALUES,
            },
        ),
        min_size=1,
        max_size=5,
    )
)
@settings(max_examples=300, deadline=None)
def test_any_messages_get_an_answer_that_sqs_reads(records: list[dict[str, Any]]) -> None:
    answer = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": "discard"})(
        {"Records": records}, Context()
    )
    assert all(isinstance(identifier, str) for identifier in failures(answer))
    json.dumps(answer, ensure_ascii=False).encode("utf-8")
