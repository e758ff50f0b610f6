"""The requests of the benchmarks, and the check of responses."""

import json

import pytest

from benchmarks.measure import workload


def test_texts_are_the_same_in_every_run_and_of_mixed_lengths() -> None:
    texts = workload.mixed_texts(40)
    assert texts == workload.mixed_texts(40)
    lengths = sorted(len(text.split()) for text in texts)
    assert len(texts) == 40
    assert lengths[0] <= 20
    assert lengths[-1] >= 400
    assert len(workload.of_tokens(128).split()) == 124


def test_events_are_what_api_gateway_sends() -> None:
    event = workload.embed_event(["a", "b"])
    assert json.loads(event["body"])["input"] == ["a", "b"]
    assert event["requestContext"]["http"]["path"] == event["rawPath"] == "/v1/embeddings"
    assert event["headers"]["content-length"] == str(len(event["body"]))
    assert workload.rerank_event("q", ["d"])["rawPath"] == "/v1/rerank"


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        (workload.embed_event(["a"]), {"body": json.dumps({"data": [{"embedding": [0.0] * 768}]})}),
        (workload.rerank_event("q", ["a"]), {"body": json.dumps({"results": [{"index": 0}]})}),
        (workload.direct_embed_event(["a"]), {"embeddings": [[0.0] * 768]}),
    ],
)
def test_only_whole_answers_count(event: workload.Event, answer: dict[str, object]) -> None:
    workload.check_response(event, answer)
    for wrong in ({"errorMessage": "no"}, {"body": "no json"}, {"body": '{"data": []}'}):
        with pytest.raises(workload.WrongResponseError):
            workload.check_response(event, wrong)
