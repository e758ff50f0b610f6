"""End to end: the function under awslambdaric and the Runtime Interface Emulator, with real weights."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from scripts.local.rie import Emulator, EmulatorError
from tests.support.emulator_fixtures import MINILM
from tests.support.function_checks import (
    DIMENSIONS,
    EVENTS,
    GOLDEN,
    GOOD,
    SECRET,
    alive,
    assert_small_and_silent,
    assert_vectors,
    body_of,
    cosine,
    http_event,
    read_event,
)
from tests.support.mistakes import DEEP, direct_mistakes, http_mistakes, unserved_events

pytestmark = [pytest.mark.emulator, pytest.mark.minilm]

SCORE_TOLERANCE = 0.02


def assert_scores(results: list[Any], key: str, query: str, documents: list[str], top_n: int) -> None:
    expected = [(cosine(GOLDEN[query], GOLDEN[document]) + 1) / 2 for document in documents]
    order = sorted(range(len(documents)), key=lambda index: -expected[index])[:top_n]
    assert [result["index"] for result in results] == order
    for result in results:
        assert result[key] == pytest.approx(expected[result["index"]], abs=SCORE_TOLERANCE)


# Every file of events/


@pytest.mark.parametrize(
    "name", ["http-v2-embed.json", "rest-v1-embed.json", "function-url-embed.json", "lattice-v1-embed.json"]
)
def test_embedding_over_http(emulator: Emulator, name: str) -> None:
    event = read_event(name)
    sent = base64.b64decode(event["body"]) if event.get("isBase64Encoded") else event["body"]
    texts = json.loads(sent)["input"]
    texts = [texts] if isinstance(texts, str) else texts
    answer = emulator.invoke(event)
    assert answer["statusCode"] == 200
    headers = answer["headers"] if "headers" in answer else answer["multiValueHeaders"]
    assert {"content-type", "x-model-fingerprint", "x-request-id"} <= set(headers)
    body = body_of(answer)
    vectors = [entry.pop("embedding") for entry in body["data"]]
    tokens = body["usage"]["prompt_tokens"]
    assert body == {
        "object": "list",
        "data": [{"object": "embedding", "index": index} for index in range(len(texts))],
        "model": MINILM,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "truncated": [],
    }
    assert tokens > 2 * len(texts)
    assert_vectors(vectors, texts)
    assert all(isinstance(vector, str) for vector in vectors) == (name == "function-url-embed.json")


@pytest.mark.parametrize("name", ["http-v2-rerank.json", "alb-rerank.json", "lattice-v2-rerank.json"])
def test_reranking_over_http(emulator: Emulator, name: str) -> None:
    event = read_event(name)
    sent = json.loads(event["body"])
    documents = [item if isinstance(item, str) else item["text"] for item in sent["documents"]]
    answer = emulator.invoke(event)
    assert answer["statusCode"] == 200
    body = body_of(answer)
    results = body.pop("results")
    tokens = body["usage"]["total_tokens"]
    # What Voyage's readers look at, and what Cohere's do.
    assert body.pop("data") == [
        {"index": result["index"], "relevance_score": result["relevance_score"]}
        | ({"document": documents[result["index"]]} if sent.get("return_documents") else {})
        for result in results
    ]
    assert body.pop("id")
    assert body.pop("meta")["tokens"] == {"input_tokens": tokens}
    assert body == {
        "object": "list",
        "model": MINILM,
        "usage": {"total_tokens": tokens},
        "truncated": [],
    }
    top_n = sent.get("top_n", len(documents))
    assert_scores(results, "relevance_score", sent["query"], documents, top_n)
    for result in results:
        given = sent["documents"][result["index"]]
        whole = {"text": given} if isinstance(given, str) else given
        assert result.get("document") == (whole if sent.get("return_documents") else None)


def test_direct_embed(emulator: Emulator) -> None:
    event = read_event("direct-embed.json")
    answer = emulator.invoke(event)
    vectors = answer.pop("embeddings")
    tokens = answer["usage"]["tokens"]
    assert answer == {"model": MINILM, "dimensions": DIMENSIONS, "usage": {"tokens": tokens}, "truncated": []}
    assert_vectors(vectors, event["texts"])


def test_direct_rerank(emulator: Emulator) -> None:
    event = read_event("direct-rerank.json")
    answer = emulator.invoke(event)
    results = answer.pop("results")
    tokens = answer["usage"]["tokens"]
    assert answer == {"model": MINILM, "usage": {"tokens": tokens}, "truncated": []}
    assert_scores(results, "score", event["query"], event["documents"], event["top_n"])


def test_direct_info(emulator: Emulator) -> None:
    answer = emulator.invoke(read_event("direct-info.json"))
    assert answer["models"]["embedding"]["id"] == MINILM
    assert answer["models"]["embedding"]["dimensions"] == DIMENSIONS
    assert answer["rerank_kind"] == "bi-encoder"
    phases = answer["cold_start"]["phases_ms"]
    assert {"interpreter", "imports", "sessions", "tokenizers", "app", "total"} <= set(phases)
    assert 0 < phases["total"] < 60_000


@pytest.mark.parametrize("name", ["direct-ping.json", "scheduled.json"])
def test_warm_up(emulator: Emulator, name: str) -> None:
    assert emulator.invoke(read_event(name)) == {"ok": True}


def test_a_batch_of_texts(emulator: Emulator) -> None:
    event = read_event("step-functions-embed.json")
    answer = emulator.invoke(event)
    texts = [item["text"] for item in event["Items"]]
    assert [vector is None for vector in answer["embeddings"]] == [not text for text in texts]
    assert_vectors([vector for vector in answer["embeddings"] if vector], [text for text in texts if text])
    (error,) = answer["errors"]
    assert (error["index"], error["code"], error["param"]) == (1, "invalid_text", "Items[1]")
    assert emulator.invoke(event) == answer


def test_a_batch_of_requests(emulator: Emulator) -> None:
    event = read_event("step-functions-rerank.json")
    answers = emulator.invoke(event)["answers"]
    for item, answer in zip(event["Items"], answers, strict=True):
        assert answer["id"] == item["id"]
        assert_scores(answer["results"], "score", item["query"], item["documents"], 1)


def test_a_queue(emulator: Emulator) -> None:
    event = read_event("sqs-batch.json")
    poison = event["Records"][1]["messageId"]
    assert emulator.invoke(event) == {"batchItemFailures": [{"itemIdentifier": poison}]}


@pytest.mark.parametrize(
    ("name", "failed"),
    [("pipes-sqs.json", [1]), ("pipes-kinesis.json", []), ("pipes-dynamodb-stream.json", [])],
)
def test_of_a_pipes_records_only_those_that_failed_come_back(
    emulator: Emulator, name: str, failed: list[int]
) -> None:
    records = read_event(name)
    assert emulator.invoke(records) == {
        "batchItemFailures": [{"itemIdentifier": records[index]["messageId"]} for index in failed]
    }


def test_a_pipe_that_enriches_gets_the_answers(rie: Path, minilm: Path) -> None:
    records = read_event("pipes-sqs.json")
    with Emulator({"MODEL_DIR": str(minilm)}) as without_sink:
        answers = without_sink.invoke(records)
    assert [answer["messageId"] for answer in answers] == [record["messageId"] for record in records]
    first, second, third = answers
    assert_vectors(first["embeddings"], json.loads(records[0]["body"])["texts"])
    assert (second["id"], second["error"]["code"]) == ("doc-2", "unknown_field")
    assert third["results"][0]["index"] == 1


def test_an_answer_past_the_callers_envelope_tells_how_many_items_fit(emulator: Emulator) -> None:
    texts = [f"text {index}" for index in range(300)]
    for encoding in ("float", "base64"):
        shared = {"action": "embed", "encoding": encoding, "max_response_bytes": 262_144}
        error = emulator.invoke({"BatchInput": shared, "Items": texts})["error"]
        while error:
            assert error["code"] == "response_too_large"
            fit = error["fit"]
            raw = emulator.post(json.dumps({"BatchInput": shared, "Items": texts[:fit]}).encode())
            error = json.loads(raw).get("error")
        assert len(raw) <= 262_144
        assert emulator.invoke({"BatchInput": shared, "Items": texts[: fit + 3]})["error"]


@pytest.mark.parametrize("name", ["redshift-embed.json", "redshift-rerank.json"])
def test_rows_of_redshift(emulator: Emulator, name: str) -> None:
    event = read_event(name)
    answer = json.loads(emulator.invoke(event))  # a string, as Redshift reads it
    assert (answer["success"], answer["num_records"]) == (True, 3)
    assert [result is None for result in answer["results"]] == [None in row for row in event["arguments"]]
    if name == "redshift-embed.json":
        (text,) = event["arguments"][0]
        assert_vectors([json.loads(answer["results"][0])], [text])
    else:
        assert 1 > answer["results"][0] > answer["results"][1] > 0


@pytest.mark.parametrize("name", ["snowflake-embed.json", "snowflake-rerank.json"])
def test_rows_of_snowflake(emulator: Emulator, name: str) -> None:
    sent = json.loads(read_event(name)["body"])["data"]
    answer = emulator.invoke(read_event(name))
    assert answer["statusCode"] == 200
    rows = body_of(answer)["data"]
    assert [number for number, _ in rows] == [row[0] for row in sent]
    assert [value is None for _, value in rows] == [None in row for row in sent]


def test_of_a_streams_records_only_those_that_failed_come_back(emulator: Emulator) -> None:
    kinesis, changes = read_event("kinesis.json"), read_event("dynamodb-stream.json")
    for event in (kinesis, changes):
        assert emulator.invoke(event) == {"batchItemFailures": []}
    kinesis["Records"][1]["kinesis"]["data"] = base64.b64encode(b"no event").decode()
    changes["Records"][1]["dynamodb"]["NewImage"]["event"] = {"S": "no event"}
    for event, number in (
        (kinesis, kinesis["Records"][1]["kinesis"]["sequenceNumber"]),
        (changes, changes["Records"][1]["dynamodb"]["SequenceNumber"]),
    ):
        assert emulator.invoke(event) == {"batchItemFailures": [{"itemIdentifier": number}]}


@pytest.mark.parametrize("name", ["s3.json", "s3-batch.json"])
def test_objects_without_a_bucket_fail(emulator: Emulator, name: str) -> None:
    answer = emulator.invoke(read_event(name))
    assert answer.get("errorType") or answer["results"][0]["resultCode"] != "Succeeded"


def test_malformed(emulator: Emulator) -> None:
    answer = emulator.invoke(read_event("malformed.json"))
    assert answer["error"].pop("message")
    assert answer == {"error": {"code": "invalid_field", "param": "texts[1]"}}


def test_every_event_file_has_its_test() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.name for path in EVENTS.iterdir() if f'"{path.name}"' not in source] == []


@pytest.mark.parametrize(("path", "keys"), [("/health", {"status"}), ("/v1/models", {"object", "data"})])
def test_reading_over_http(emulator: Emulator, path: str, keys: set[str]) -> None:
    answer = emulator.invoke(http_event("", path, "GET"))
    assert answer["statusCode"] == 200
    assert body_of(answer).keys() == keys


def test_info_is_the_same_over_http(emulator: Emulator) -> None:
    assert body_of(emulator.invoke(http_event("", "/info", "GET"))) == emulator.invoke({"action": "info"})


# Entry points agree


def test_http_and_direct_answers_agree_value_for_value(emulator: Emulator) -> None:
    texts = ["one", "Zwei Wörter", "три слова здесь", "四"]
    direct = emulator.invoke({"action": "embed", "texts": texts, "input_type": "query"})
    body = body_of(emulator.invoke(http_event(json.dumps({"input": texts, "input_type": "query"}))))
    assert [entry["embedding"] for entry in body["data"]] == direct["embeddings"]
    assert body["usage"]["total_tokens"] == direct["usage"]["tokens"]

    ask = {"query": texts[0], "documents": texts}
    ranked = emulator.invoke({"action": "rerank", **ask})
    body = body_of(emulator.invoke(http_event(json.dumps(ask), "/v1/rerank")))
    assert [(entry["index"], entry["relevance_score"]) for entry in body["results"]] == [
        (entry["index"], entry["score"]) for entry in ranked["results"]
    ]


# Bad input


@pytest.mark.parametrize(
    ("event", "code"), [pytest.param(*rest, id=name) for name, *rest in direct_mistakes()]
)
def test_direct_mistakes_are_typed_and_harmless(emulator: Emulator, event: Any, code: str) -> None:
    before = alive(emulator)
    raw = emulator.post(json.dumps(event).encode())
    answer = json.loads(raw)
    assert answer.keys() == {"error"}
    assert answer["error"].keys() == {"code", "message", "param"}
    assert answer["error"]["code"] == code
    assert_small_and_silent(raw)
    assert alive(emulator) == before


@pytest.mark.parametrize("event", [pytest.param(event, id=name) for name, event in unserved_events()])
def test_events_that_are_not_served_raise_and_are_harmless(emulator: Emulator, event: Any) -> None:
    before = alive(emulator)
    raw = emulator.post(json.dumps(event).encode())
    assert json.loads(raw)["errorType"] == "UnservedEventError"
    assert_small_and_silent(raw)
    assert alive(emulator) == before


@pytest.mark.parametrize(
    ("event", "status", "code"), [pytest.param(*rest, id=name) for name, *rest in http_mistakes()]
)
def test_http_mistakes_are_typed_and_harmless(emulator: Emulator, event: Any, status: int, code: str) -> None:
    before = alive(emulator)
    raw = emulator.post(json.dumps(event).encode())
    answer = json.loads(raw)
    assert answer["statusCode"] == status
    body = body_of(answer)
    # Beside it, what clients of the other families on a route read.
    assert {"error"} <= body.keys() <= {"error", "detail", "id", "message"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert (body["error"]["type"], body["error"]["code"]) == ("invalid_request_error", code)
    assert_small_and_silent(raw)
    assert alive(emulator) == before


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"{" + SECRET.encode(), id="cut off"),
        pytest.param(DEEP.encode(), id="deep lists"),
        pytest.param(b'{"a":' * 200_000, id="deep objects"),
        pytest.param(b"\xff\xfe\x00", id="not UTF-8"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'{"action": "embed", "texts": [NaN]}', id="a text NaN"),
        pytest.param(b'{"action": "rerank", "query": "q", "documents": ["d"], "top_n": NaN}', id="top_n NaN"),
    ],
)
def test_what_is_not_json_is_refused_before_the_handler(emulator: Emulator, payload: bytes) -> None:
    before = alive(emulator)
    raw = emulator.post(payload)
    assert json.loads(raw)["errorType"] == "Runtime.UnmarshalError"
    assert_small_and_silent(raw)
    assert alive(emulator) == before


def test_an_answer_past_the_limit_is_refused_before_lambda_ends_the_process(emulator: Emulator) -> None:
    before = alive(emulator)
    texts = [f"text {index}" for index in range(1500)]
    answer = emulator.invoke({"action": "embed", "texts": texts})
    assert answer["error"]["code"] == "response_too_large"
    answer = emulator.invoke(http_event(json.dumps({"input": texts})))
    assert (answer["statusCode"], body_of(answer)["error"]["code"]) == (413, "response_too_large")
    assert alive(emulator) == before
    assert (
        len(emulator.invoke({"action": "embed", "texts": texts, "encoding": "base64"})["embeddings"]) == 1500
    )


def test_sqs_messages_that_are_no_events_are_reported_as_failed_not_lost(emulator: Emulator) -> None:
    records = [{"messageId": f"id-{index}", "eventSource": "aws:sqs", "body": SECRET} for index in range(3)]
    answer = emulator.invoke({"Records": records})
    assert answer == {"batchItemFailures": [{"itemIdentifier": f"id-{index}"} for index in range(3)]}


# Deployments


def test_one_line_for_the_cold_start_and_one_for_each_invocation(rie: Path, minilm: Path) -> None:
    with Emulator({"MODEL_DIR": str(minilm)}) as emulator:
        emulator.invoke({"action": "embed", "texts": [SECRET, "two"]})
        emulator.invoke(http_event(json.dumps({"input": SECRET})))
        emulator.invoke({"action": SECRET})
        lines, everything = emulator.log, "\n".join(emulator.stdout) + emulator.errors
    assert [line["event"] for line in lines] == ["cold_start", "invocation", "invocation", "invocation"]
    assert {"interpreter", "imports", "sessions", "tokenizers", "app", "total"} <= set(lines[0]["phases_ms"])
    assert [line["cold"] for line in lines[1:]] == [True, False, False]
    assert [(line["source"], line["items"], line["outcome"]) for line in lines[1:]] == [
        ("direct", 2, "ok"),
        ("http", 1, "200"),
        ("direct", 0, "unknown_action"),
    ]
    assert all(line["request_id"] and line["milliseconds"] > 0 for line in lines[1:])
    assert SECRET not in everything


def test_what_init_does_not_preload_opens_on_first_use(rie: Path, minilm: Path) -> None:
    with Emulator({"MODEL_DIR": str(minilm), "PRELOAD": ""}) as emulator:
        assert emulator.invoke({"action": "ping"}) == {"ok": True}
        assert "sessions" not in emulator.log[0]["phases_ms"]
        assert_vectors(emulator.invoke(GOOD)["embeddings"], GOOD["texts"])  # type: ignore[arg-type]
        assert emulator.invoke(read_event("http-v2-embed.json"))["statusCode"] == 200


def test_a_function_without_a_reranker_says_so(rie: Path, minilm: Path) -> None:
    with Emulator({"MODEL_DIR": str(minilm), "MODELS": "embedding"}) as emulator:
        answer = emulator.invoke(read_event("direct-rerank.json"))
        assert answer["error"]["code"] == "model_unavailable"
        assert emulator.invoke(read_event("http-v2-rerank.json"))["statusCode"] == 404
        assert alive(emulator)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"MODEL_DIR": "/nowhere"}, "manifest.json"),
        ({"PRELOAD": "everything"}, "PRELOAD must be"),
        ({"INFERENCE_THREADS": "many"}, "INFERENCE_THREADS must be"),
    ],
)
def test_a_function_that_cannot_start_says_why(rie: Path, environment: dict[str, str], message: str) -> None:
    with Emulator(environment) as emulator:
        try:
            answer = json.dumps(emulator.invoke({"action": "ping"}))
        except EmulatorError as error:
            answer = str(error)
        assert message in answer + "\n".join(emulator.stdout)
