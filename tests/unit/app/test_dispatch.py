"""The dispatcher: any JSON value gets an answer or a typed error, and nothing of it leaks."""

from __future__ import annotations

import base64
import json
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambda_app.errors import InferenceError, LambdaAppError
from lambda_app.limits import ALB_RESPONSE_BYTES, LAMBDA_RESPONSE_BYTES, Limits
from tests.support.fakes import ERROR_BYTES, Context, FakeEmbedder, fake_dispatcher, http_v2
from tests.support.json_values import JSON_VALUES

LONG_TEXTS = Limits(text_characters=2**23, total_characters=2**23)
DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})

FIELDS = ("texts", "input_type", "encoding", "query", "documents", "top_n", "raw_scores", "model")


def call(event: Any, seconds: float = 30.0) -> Any:
    return DISPATCHER(event, Context(seconds=seconds))


def post(path: str, body: Any, **options: Any) -> tuple[int, dict[str, Any]]:
    answer = call(http_v2(path, body, method="POST", **options))
    return answer["statusCode"], json.loads(answer["body"])


@given(JSON_VALUES)
@settings(max_examples=300, deadline=None)
def test_any_json_value_gets_a_typed_error_or_an_answer(event: Any) -> None:
    answer = call(event)
    assert isinstance(answer, dict)
    json.dumps(answer).encode("ascii")


@given(
    st.sampled_from(["embed", "rerank", "info", "ping"]),
    st.dictionaries(st.sampled_from(FIELDS), JSON_VALUES),
)
@settings(max_examples=300, deadline=None)
def test_any_fields_of_an_action_get_a_typed_error_or_an_answer(action: str, fields: dict[str, Any]) -> None:
    answer = call({"action": action, **fields})
    text = json.dumps(answer, allow_nan=False)
    if "error" in answer:
        assert set(answer["error"]) == {"code", "message", "param"}
        assert len(text) < ERROR_BYTES


@given(
    st.fixed_dictionaries(
        {"requestContext": st.fixed_dictionaries({}, optional={"http": JSON_VALUES, "elb": JSON_VALUES})},
        optional={
            "version": st.sampled_from(["2.0", "1.0"]) | JSON_VALUES,
            "httpMethod": st.sampled_from(["GET", "POST"]) | JSON_VALUES,
            "path": st.sampled_from(["/v1/embeddings", "/health"]) | JSON_VALUES,
            "headers": st.dictionaries(st.sampled_from(["Host", "X-Forwarded-Port", "é\ud800"]), JSON_VALUES)
            | JSON_VALUES,
            "multiValueHeaders": st.dictionaries(st.sampled_from(["host", "cookie"]), JSON_VALUES)
            | JSON_VALUES,
            "queryStringParameters": JSON_VALUES,
            "multiValueQueryStringParameters": JSON_VALUES,
            "rawQueryString": JSON_VALUES,
            "cookies": JSON_VALUES,
            "body": JSON_VALUES,
            "isBase64Encoded": st.booleans(),
            "resource": JSON_VALUES,
        },
    )
)
@settings(max_examples=400, deadline=None)
def test_any_gateway_event_gets_an_http_answer_or_a_typed_error(event: dict[str, Any]) -> None:
    answer = call(event)
    json.dumps(answer).encode("ascii")
    if "statusCode" in answer:
        assert answer["statusCode"] < 500
    else:
        assert answer["error"]["code"] == "unsupported_event"


def test_floats_have_the_shortest_digits_that_read_back_as_the_same_float32() -> None:
    texts = ["one", "three"]
    vectors = call({"action": "embed", "texts": texts})["embeddings"]
    _, http = post("/v1/embeddings", {"input": texts})
    for numbers in (*vectors, *(item["embedding"] for item in http["data"])):
        assert [json.dumps(number) for number in numbers] == [
            json.dumps(float(str(np.float32(number)))) for number in numbers
        ]
        assert max(len(json.dumps(number)) for number in numbers) <= 14


def test_http_and_direct_answers_agree() -> None:
    texts = ["a", "bb", "ccc"]
    direct = call({"action": "embed", "texts": texts, "input_type": "query"})
    status, http = post("/v1/embeddings", {"input": texts, "input_type": "query"})
    assert status == 200
    assert [item["embedding"] for item in http["data"]] == direct["embeddings"]
    assert http["usage"]["total_tokens"] == direct["usage"]["tokens"]

    request = {"query": "abc", "documents": ["xa", "abc", "zz", "ab"], "top_n": 3}
    direct = call({"action": "rerank", **request})
    status, http = post("/v1/rerank", request)
    assert status == 200
    assert [(r["index"], r["relevance_score"]) for r in http["results"]] == [
        (r["index"], r["score"]) for r in direct["results"]
    ]


@pytest.mark.parametrize("event", [{"requestContext": {}}, "text", None])
def test_other_values_are_an_unsupported_event(event: Any) -> None:
    error = call(event)["error"]
    assert (error["code"], error["param"]) == ("unsupported_event", None)
    assert len(json.dumps(error)) < ERROR_BYTES


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "invalid_json"),
        ("{", 400, "invalid_json"),
        ('{"input": NaN}', 400, "invalid_json"),
        ("[" * 200_000, 400, "invalid_json"),
        ('{"input": ' + "9" * 5_000 + "}", 400, "invalid_json"),
        ("[]", 400, "invalid_field"),
        ({"input": ["a"], "dimensions": 2}, 400, "invalid_field"),
        ({"input": [[1, 2]]}, 400, "invalid_field"),
        ({"input": [1, 2]}, 400, "invalid_field"),
        ({"input": ["a"] * 2_049}, 413, "limit_exceeded"),
        ({"input": "\ud83d"}, 400, "invalid_text"),
    ],
)
def test_http_mistakes_have_statuses_and_codes(body: Any, status: int, code: str) -> None:
    found, answer = post("/v1/embeddings", body)
    assert (found, answer["error"]["code"]) == (status, code)
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["detail"] == answer["error"]["message"]
    assert len(json.dumps(answer)) < ERROR_BYTES


def test_token_ids_name_the_option_that_cures_it() -> None:
    _, answer = post("/v1/embeddings", {"input": [[101, 102]]})
    assert "check_embedding_ctx_length=False" in answer["error"]["message"]


def test_errors_never_repeat_the_input() -> None:
    marker = "MARKER-7281"
    for event in (
        {"action": marker},
        {"action": "embed", "texts": ["a"], "typo": marker},
        {"action": "embed", "texts": ["a"], "input_type": marker},
        {"action": "embed", "texts": [marker + "\0"]},
        http_v2("/v1/embeddings", '{"input": "' + marker),
        http_v2("/v1/embeddings", {"input": {"text": marker}}),
        http_v2("/" + marker),
    ):
        assert marker not in json.dumps(call(event))


@pytest.mark.parametrize("headers", [{"host": "a:b:c"}, {"host": "[::1]:80"}, {"x-forwarded-port": "abc"}])
def test_odd_headers_do_not_matter(headers: dict[str, str]) -> None:
    assert call(http_v2("/health", headers=headers))["statusCode"] == 200


@pytest.mark.parametrize(
    "headers",
    [{"host": "["}, {"host": "[secret]"}, {"x-forwarded-proto": "https, http"}, {"host": "a b"}],
)
@pytest.mark.parametrize(("path", "status"), [("/none", 404), ("/v2/embed", 400), ("/docs", 200)])
def test_odd_headers_change_no_error_and_no_page(
    headers: dict[str, str], path: str, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    event = http_v2(path, None if path == "/docs" else "[]", headers=headers)
    answer = call(event)
    assert answer["statusCode"] == status
    written = answer["body"] + "".join(capfd.readouterr())
    assert "secret" not in written
    assert "Traceback" not in written


@pytest.mark.parametrize("path", ["/health/", "/health//"])
def test_a_slash_at_the_end_is_no_redirect(path: str) -> None:
    event = http_v2(path) | {"rawQueryString": "secret=" + "x" * 200_000}
    answer = call(event)
    assert answer["statusCode"] == 200
    assert len(json.dumps(answer)) < ERROR_BYTES
    answer = call(http_v2("/none/") | {"rawQueryString": "secret=" + "x" * 200_000})
    assert answer["statusCode"] == 404
    assert len(json.dumps(answer)) < ERROR_BYTES


@pytest.mark.parametrize("path", ["/health", "/none", "/v1/embeddings"])
def test_http_is_answered_in_any_thread(path: str) -> None:
    body = {"input": "a"} if path == "/v1/embeddings" else None
    expected = call(http_v2(path, body))
    answers: list[Any] = []
    for _ in range(2):
        thread = threading.Thread(target=lambda: answers.append(call(http_v2(path, body))))
        thread.start()
        thread.join()
    assert answers == [expected] * 2
    assert call(http_v2(path, body)) == expected


def test_bad_base64_is_a_400() -> None:
    event = http_v2("/v1/embeddings", "!!!") | {"isBase64Encoded": True}
    answer = call(event)
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["error"]["code"] == "invalid_request"


def test_base64_bodies_are_read() -> None:
    body = base64.b64encode(json.dumps({"input": "héllo"}).encode()).decode()
    assert call(http_v2("/v1/embeddings", body) | {"isBase64Encoded": True})["statusCode"] == 200


@pytest.mark.parametrize("source", ["aws.events", "aws.scheduler", "serverless-plugin-warmup"])
def test_warm_up_touches_no_model(source: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = None  # type: ignore[misc,assignment]
    assert dispatcher({"source": source, "detail-type": "Scheduled Event"}, Context()) == {"ok": True}
    assert dispatcher({"action": "ping"}, Context()) == {"ok": True}


def test_the_deadline_is_a_typed_error_that_tells_what_was_done() -> None:
    event = {"action": "embed", "texts": ["a", "b"]}
    error = call(event, seconds=0.1)["error"]
    assert (error["code"], error["done"], error["total"]) == ("deadline_exceeded", 0, 2)
    answer = DISPATCHER(http_v2("/v1/embeddings", {"input": "a"}), Context(seconds=0.1))
    assert answer["statusCode"] == 504
    assert answer["headers"]["retry-after"] == "1"


class BrokenEmbedder(FakeEmbedder):
    """Fails as a bug would: with the caller's text in the message."""

    def embed(self, texts: Any, input_type: Any, **options: Any) -> Any:
        raise RuntimeError(f"cannot handle {texts}")


def test_faults_raise_without_the_callers_text(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher()
    dispatcher._service.registry.embedder = BrokenEmbedder()  # type: ignore[misc,assignment]
    with pytest.raises(LambdaAppError, match="internal error") as caught:
        dispatcher({"action": "embed", "texts": ["SECRET"]}, Context())
    assert caught.value.__suppress_context__
    answer = dispatcher(http_v2("/v1/embeddings", {"input": "SECRET"}), Context())
    assert answer["statusCode"] == 500
    output = capsys.readouterr()
    assert "RuntimeError" in output.out
    assert "SECRET" not in output.out + output.err + json.dumps(answer)


class NotFiniteEmbedder(FakeEmbedder):
    def embed(self, texts: Any, input_type: Any, **options: Any) -> Any:
        raise InferenceError("the model produced a value that is not finite")


def test_output_that_is_not_finite_is_our_fault() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = NotFiniteEmbedder()  # type: ignore[misc,assignment]
    with pytest.raises(InferenceError):
        dispatcher({"action": "embed", "texts": ["a"]}, Context())
    answer = dispatcher(http_v2("/v1/embeddings", {"input": "a"}), Context())
    assert answer["statusCode"] == 500
    assert json.loads(answer["body"])["error"]["code"] == "inference_failed"


@pytest.mark.parametrize("limit", [LAMBDA_RESPONSE_BYTES, ALB_RESPONSE_BYTES])
def test_answers_past_the_envelope_are_refused_and_tell_how_many_fit(limit: int) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=LONG_TEXTS)
    event = http_v2("/v2/rerank", {})
    if limit == ALB_RESPONSE_BYTES:
        event = {
            "httpMethod": "POST",
            "path": "/v2/rerank",
            "headers": {},
            "requestContext": {"elb": {"targetGroupArn": "arn"}},
            "isBase64Encoded": False,
        }

    def size(characters: int) -> tuple[int, int]:
        documents = ["x" * characters]
        event["body"] = json.dumps({"query": "q", "documents": documents, "return_documents": True})
        answer = dispatcher(event, Context())
        return answer["statusCode"], len(json.dumps(answer))

    status, bytes_out = size(limit - 1_000)
    assert status == 200
    fits = 2 * limit - 1_000 - bytes_out
    assert size(fits) == (200, limit)
    status, bytes_out = size(fits + 1)
    assert status == 413
    assert bytes_out < ERROR_BYTES


def test_escaping_counts_towards_the_envelope() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"}, limits=LONG_TEXTS)
    request = {"query": "q", "documents": ["語" * 1_200_000], "return_documents": True}
    answer = dispatcher(http_v2("/v1/rerank", request), Context())
    assert answer["statusCode"] == 413
    assert len(json.dumps(answer)) < ERROR_BYTES


def test_one_log_line_an_invocation_without_text(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher()
    dispatcher({"action": "embed", "texts": ["SECRET", "b"]}, Context())
    dispatcher(http_v2("/SECRET"), Context())
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["event"] for line in lines] == ["invocation", "invocation"]
    first, second = lines
    assert (first["source"], first["items"], first["tokens"], first["cold"]) == ("direct", 2, 7, True)
    assert (second["source"], second["outcome"], second["items"], second["cold"]) == ("http", "404", 0, False)
    assert first["request_id"] == "request-1"
    assert second["code"] == "not_found"
    assert "code" not in first
    assert "SECRET" not in json.dumps(lines)
