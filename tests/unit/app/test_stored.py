"""Sinks that are ready: results in S3 and S3 Vectors, once however often they are delivered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.api.events import stored
from lambda_app.api.events.sinks import load_sink
from lambda_app.errors import ConfigurationError, NotStoredError
from tests.support.bulk_storage import OUT, Storage
from tests.support.fakes import DIMENSIONS, Context, fake_dispatcher

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def message(identifier: str, event: Any) -> dict[str, Any]:
    return {"messageId": identifier, "body": json.dumps(event), "eventSource": "aws:sqs"}


def deliver(url: str, *events: Any) -> list[str]:
    """Sends events as SQS messages 0, 1, ...; returns those that come back."""
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "RESULT_SINK": url})
    records = [message(str(number), event) for number, event in enumerate(events)]
    answer = dispatcher({"Records": records}, Context())
    return [failure["itemIdentifier"] for failure in answer["batchItemFailures"]]


def embed(*texts: str, **fields: Any) -> dict[str, Any]:
    return {"action": "embed", "texts": list(texts), **fields}


def test_each_result_is_an_object_under_its_id(store: Storage) -> None:
    rerank = {"action": "rerank", "query": "a", "documents": ["a"]}
    url = f"s3://{OUT}/results/"
    assert deliver(url, embed("a", id="doc/1"), embed("b", id=7), rerank, embed("")) == ["3"]
    keys = ["results/2.json", "results/7.json", "results/doc%2F1.json"]
    assert sorted(store.keys()) == keys
    first = store.json("results/doc%2F1.json")
    assert first.keys() == {"message_id", "attributes", "event", "answer"}
    assert first["event"] == embed("a", id="doc/1")
    direct = fake_dispatcher({"LOG_LEVEL": "ERROR"})(embed("a"), Context())
    assert first["answer"] == {"id": "doc/1", **direct}
    assert deliver(url, embed("a", id="doc/1")) == []
    assert sorted(store.keys()) == keys


def test_a_bucket_alone_takes_results_too(store: Storage) -> None:
    assert deliver(f"s3://{OUT}", embed("a", id="é" * 256)) == []
    (key,) = store.keys()
    assert len(key) == 64 + len(".json")


def test_the_last_result_of_a_name_counts(store: Storage) -> None:
    assert deliver(f"s3://{OUT}/r", embed("a", id="same"), embed("bb", id="same")) == []
    assert store.json("r/same.json")["event"]["texts"] == ["bb"]


def test_messages_come_back_where_there_is_no_bucket(
    store: Storage, capsys: pytest.CaptureFixture[str]
) -> None:
    assert deliver("s3://nowhere/results", embed("a"), embed("b")) == ["0", "1"]
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert line["code"] == "result_not_stored"
    assert "correct its name" in line["message"]


def test_vectors_are_indexed_under_their_names(store: Storage) -> None:
    url = store.index("texts", DIMENSIONS)
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    events = [embed("a", id="one"), embed("b", "cc", id="two", encoding="base64"), embed("ddd")]
    assert deliver(url, *events) == []
    found = store.indexed("texts")
    vectors = dispatcher(embed("a", "b", "cc", "ddd"), Context())["embeddings"]
    assert found.keys() == {"one", "two#0", "two#1", "2"}
    for key, vector in zip(("one", "two#0", "two#1", "2"), vectors, strict=True):
        assert found[key]["data"]["float32"] == pytest.approx(vector, abs=1e-6)


def test_a_result_without_vectors_comes_back_alone(store: Storage) -> None:
    url = store.index("texts", DIMENSIONS)
    rerank = {"action": "rerank", "query": "a", "documents": ["a"]}
    assert deliver(url, embed("a"), rerank, embed("b")) == ["1"]
    assert store.indexed("texts").keys() == {"0", "2"}


def test_vectors_that_the_index_refuses_come_back_alone(store: Storage) -> None:
    url = store.index("texts", DIMENSIONS)
    good, long = embed("a", id="a"), embed("b", id="é" * 256)
    assert deliver(url, good, embed("c", "d", id="€" * 256 * 2), long) == ["1"]
    assert "a" in store.indexed("texts")


def test_messages_come_back_where_there_is_no_index(store: Storage) -> None:
    assert deliver("s3vectors://nowhere/index", embed("a"), embed("b")) == ["0", "1"]


@pytest.mark.parametrize("url", ["s3://bucket/prefix", "s3vectors://bucket/index"])
def test_a_client_that_is_missing_ends_init(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="EXTRAS=bulk") as caught:
        load_sink(url)
    assert caught.value.param == "RESULT_SINK"


def test_objects_that_failed_are_those_that_are_named(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = load_sink(f"s3://{OUT}/r")
    results: list[dict[str, Any]] = [{"message_id": name, "answer": {}} for name in ("a", "bad", "c")]
    from lambda_app.bulk import aws
    from lambda_app.errors import StorageError

    real = aws.client("s3")

    class Moody:
        def put_object(self, **fields: Any) -> Any:
            if "bad" in fields["Key"]:
                raise StorageError("not now")
            return real.put_object(**fields)

    monkeypatch.setattr(aws, "client", lambda service: Moody())
    with pytest.raises(NotStoredError) as caught:
        sink(results)
    assert caught.value.places == [1]
    assert sorted(store.keys()) == ["r/a.json", "r/c.json"]
