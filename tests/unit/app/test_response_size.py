"""An answer one byte around what its envelope holds, for every HTTP event source."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.api.response_size import check_size, size_bound
from lambda_app.errors import ResponseTooLargeError
from lambda_app.limits import ALB_RESPONSE_BYTES, LAMBDA_RESPONSE_BYTES, Limits
from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher(
    {"LOG_LEVEL": "ERROR"}, limits=Limits(text_characters=2**23, total_characters=2**23)
)


def rest(**changes: Any) -> dict[str, Any]:
    return {
        "resource": "/{proxy+}",
        "path": "/v1/rerank",
        "httpMethod": "POST",
        "headers": {"content-type": "application/json"},
        "requestContext": {"stage": "prod", "path": "/prod/v1/rerank"},
        "isBase64Encoded": False,
        **changes,
    }


BALANCER = {"elb": {"targetGroupArn": "arn"}}
ENVELOPES = {
    "HTTP API": (http_v2("/v1/rerank", ""), LAMBDA_RESPONSE_BYTES),
    "REST API": (rest(), LAMBDA_RESPONSE_BYTES),
    "REST API, payload 1.0": (rest(version="1.0"), LAMBDA_RESPONSE_BYTES),
    "Function URL": (
        {
            **http_v2("/v1/rerank", ""),
            "requestContext": {**http_v2("/v1/rerank", "")["requestContext"], "apiId": "url"},
        },
        LAMBDA_RESPONSE_BYTES,
    ),
    "load balancer": (rest(requestContext=BALANCER), ALB_RESPONSE_BYTES),
    "load balancer, several values": (
        rest(requestContext=BALANCER, headers=None, multiValueHeaders={"host": ["lb.example"]}),
        ALB_RESPONSE_BYTES,
    ),
}


def answered(event: dict[str, Any], document: str) -> tuple[int, int, Any]:
    """Status, bytes of the whole answer, and its body."""
    body = json.dumps({"query": "q", "documents": [document], "return_documents": True})
    answer = DISPATCHER({**event, "body": body}, Context())
    return answer["statusCode"], len(json.dumps(answer)), json.loads(answer["body"])


@pytest.mark.parametrize("filler", ["x", '"', "語"], ids=["plain", "quotes", "escaped"])
@pytest.mark.parametrize("name", ENVELOPES)
def test_one_byte_around_the_limit(name: str, filler: str) -> None:
    event, limit = ENVELOPES[name]
    small = [answered(event, filler * count)[1] for count in (1_000, 2_000)]
    each = (small[1] - small[0]) // 1_000
    # Near the limit, where the content-length has all its digits, every letter weighs the same.
    count = (limit - 10_000) // each
    status, size, _ = answered(event, filler * count)
    assert status == 200
    count += (limit - size) // each
    status, size, _ = answered(event, filler * count)
    assert status == 200
    # Plain letters fill what is left; a document that comes back twice in an answer takes two bytes a letter.
    step = answered(event, filler * count + "x")[1] - size
    if step < 0:
        step = limit - size + 1
    letters = (limit - size) // step
    status, size, _ = answered(event, filler * count + "x" * letters)
    assert status == 200
    assert limit - size < step <= 2
    status, size, body = answered(event, filler * count + "x" * (letters + 1))
    assert status == 413
    assert size < ERROR_BYTES
    assert body["error"]["code"] == "response_too_large"


VECTOR = [-0.023189854] * 384
ANSWERS: dict[str, Any] = {
    "nothing at either end": {"embeddings": [None, *[VECTOR] * 100, None]},
    "one vector that is longer": {"embeddings": [[1.0], VECTOR, [1.0]]},
    "base64 in between": {"embeddings": [None, "x" * 2_048, None]},
    "long errors": {"embeddings": [[1.0]], "errors": [{"message": "é" * 4_000}]},
    "results": {"results": [{"index": index, "score": 1 / 3} for index in range(1_000)]},
    "a list": [{"answers": [{"embeddings": [VECTOR]}] * 3}, {"ok": True}],
    "headers": {"statusCode": 200, "body": "", "headers": {"x": '"' * 50_000}},
    "a body": {"statusCode": 200, "body": "\U0001f600" * 1_000, "headers": {}},
    "the longest floats": {"embeddings": [[-2.2250738585072014e-308] * 10]},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_the_bound_is_one(name: str) -> None:
    answer = ANSWERS[name]
    size = len(json.dumps(answer))
    assert size_bound(answer) >= size
    check_size(answer, size, 1)
    with pytest.raises(ResponseTooLargeError, match=f"{size} bytes"):
        check_size(answer, size - 1, 1)
