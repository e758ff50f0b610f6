"""What has gone wrong before, here or in the libraries: one case for each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from lambda_app.api.routes import POSTS
from lambda_app.errors import InferenceError, LambdaAppError
from scripts.paths import ROOT
from tests.support.fakes import ERROR_BYTES, Context, FakeEmbedder, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
SURROGATE = "\ud800"


def may_leave(answer: Any) -> bytes:
    """As Lambda's runtime client sends it: a lone surrogate would end the process here."""
    return json.dumps(answer, ensure_ascii=False).encode("utf-8")


@pytest.mark.parametrize(
    "event",
    [
        SURROGATE,
        {SURROGATE: SURROGATE},
        {"action": SURROGATE},
        {"action": "embed", "texts": [SURROGATE]},
        {"action": "embed", "texts": ["a"], SURROGATE: 1},
        {"action": "embed", "texts": ["a"], "input_type": SURROGATE},
        {"action": "rerank", "query": SURROGATE, "documents": [SURROGATE]},
        [{"action": "ping", "id": SURROGATE}],
        {"BatchInput": {"action": "embed"}, "Items": [SURROGATE, "a", {"text": SURROGATE}]},
        {"Records": [{"eventSource": "aws:sqs", "messageId": SURROGATE, "body": SURROGATE}]},
        [{"eventSource": "aws:sqs", "messageId": SURROGATE, "body": SURROGATE}],
        http_v2(f"/{SURROGATE}"),
        http_v2("/v1/embeddings", '{"input": "' + SURROGATE + '"}'),
        *(http_v2(post.path, json.dumps({"input": SURROGATE, SURROGATE: 1})) for post in POSTS),
    ],
)
def test_no_lone_surrogate_leaves(event: Any) -> None:
    may_leave(DISPATCHER(event, Context()))


class Broken(FakeEmbedder):
    """Raises what its test wants."""

    error: Exception = RuntimeError()

    def embed(self, *arguments: Any, **options: Any) -> Any:
        raise self.error


@pytest.mark.parametrize("error", [RuntimeError(SURROGATE), InferenceError("not finite")])
def test_no_lone_surrogate_leaves_in_an_exception(error: Exception) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    broken = Broken()
    broken.error = error
    dispatcher._service.registry.embedder = broken  # type: ignore[misc,assignment]
    with pytest.raises(LambdaAppError) as raised:
        dispatcher({"action": "embed", "texts": ["a"]}, Context())
    may_leave(str(raised.value))


@pytest.mark.parametrize("path", [post.path for post in POSTS])
def test_a_large_wrong_body_gets_a_small_answer(path: str) -> None:
    """FastAPI's own 422 repeats the input for each branch of a union: 300 KB became 20 MB."""
    for name in ("input", "inputs", "texts", "documents", "query"):
        body = json.dumps({name: [[{"a": ["b" * 10] * 10}] * 10] * 250})
        assert len(body) > 300_000
        answer = DISPATCHER(http_v2(path, body), Context())
        assert 400 <= answer["statusCode"] < 500
        assert len(may_leave(answer)) < ERROR_BYTES


def test_the_application_has_no_start_up_and_no_shutdown() -> None:
    """Mangum's default runs both in every request."""
    adapter = DISPATCHER.open_http()
    assert adapter.lifespan == "off"
    assert adapter is DISPATCHER.open_http()


def test_an_event_of_two_gateways_is_read_one_way() -> None:
    """A load balancer's context with the version of an HTTP API: Mangum goes by the first."""
    event = http_v2("/health")
    event["requestContext"]["elb"] = {}
    answer = DISPATCHER({**event, "httpMethod": "GET", "path": "/health"}, Context())
    assert answer["statusCode"] == 200


def test_telemetry_is_off_before_onnxruntime_is_imported() -> None:
    code = (
        "import os, sys\n"
        "import lambda_app.models\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, check=True)
