"""Requests that are mistakes, each with the error that answers it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.support.function_checks import SECRET, http_event

DEEP = "[" * 200_000 + "]" * 200_000
SIX_MEGABYTES = 6_000_000


def direct_mistakes() -> Iterator[tuple[str, Any, str]]:
    """(name, event, code)"""
    embed: dict[str, Any] = {"action": "embed"}
    rerank: dict[str, Any] = {"action": "rerank", "query": "q", "documents": ["d"]}
    yield "no texts", embed, "missing_field"
    yield "empty list", {**embed, "texts": []}, "invalid_field"
    yield "empty text", {**embed, "texts": ["a", ""]}, "invalid_text"
    yield "texts a number", {**embed, "texts": 7}, "invalid_field"
    yield "a text null", {**embed, "texts": [None]}, "invalid_field"
    yield "lone surrogate", {**embed, "texts": [SECRET + "\ud800"]}, "invalid_text"
    yield "NUL", {**embed, "texts": [SECRET + "\0"]}, "invalid_text"
    yield "six megabytes", {**embed, "texts": [SECRET + "x" * (SIX_MEGABYTES - 200)]}, "limit_exceeded"
    yield "a million empty texts", {**embed, "texts": [""] * 1_000_000}, "limit_exceeded"
    yield "unknown input type", {**embed, "texts": ["a"], "input_type": SECRET}, "invalid_field"
    yield "unknown encoding", {**embed, "texts": ["a"], "encoding": SECRET}, "invalid_field"
    yield "unknown field", {**embed, "texts": ["a"], "typo": SECRET}, "unknown_field"
    yield "unknown field with a lone surrogate", {**embed, "texts": ["a"], "\udc00": 1}, "unknown_field"
    yield "no query", {"action": "rerank", "documents": ["d"]}, "missing_field"
    yield "no documents", {"action": "rerank", "query": "q"}, "missing_field"
    yield "a million empty documents", {**rerank, "documents": [""] * 1_000_000}, "limit_exceeded"
    yield "wrapped number", {**rerank, "documents": [{"text": 3}]}, "invalid_field"
    yield "top_n zero", {**rerank, "top_n": 0}, "invalid_field"
    yield "top_n a string", {**rerank, "top_n": SECRET}, "invalid_field"
    yield "query with a lone surrogate", {**rerank, "query": SECRET + "\udfff"}, "invalid_text"
    yield "unknown action", {"action": SECRET}, "unknown_action"
    yield "action a list", {"action": [SECRET]}, "unknown_action"
    yield "action null", {"action": None}, "unknown_action"
    yield "empty object", {}, "unsupported_event"
    yield "null", None, "unsupported_event"
    yield "a number", 12.5, "unsupported_event"
    yield "a string", SECRET, "unsupported_event"
    yield "a list", [SECRET], "unsupported_event"
    yield (
        "a Cognito trigger",
        {"version": "1", "triggerSource": "PreSignUp_SignUp", "request": {}},
        "unsupported_event",
    )


def unserved_events() -> Iterator[tuple[str, Any]]:
    """(name, event) of sources that are known and not served: the function raises."""
    yield "an S3 event", {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": SECRET}}}]}
    yield "an SNS event", {"Records": [{"EventSource": "aws:sns", "Sns": {"Message": SECRET}}]}
    yield "an EventBridge event", {"source": SECRET, "detail-type": SECRET, "detail": {"text": SECRET}}


def http_mistakes() -> Iterator[tuple[str, Any, int, str]]:
    """(name, event, status, code)"""

    def post(value: Any, path: str = "/v1/embeddings") -> dict[str, Any]:
        return http_event(json.dumps(value), path)

    rerank = {"query": "q", "documents": ["d"]}
    yield "no body", http_event(""), 400, "invalid_json"
    yield "body null", {**http_event(""), "body": None}, 400, "invalid_json"
    yield "not JSON", http_event("{" + SECRET), 400, "invalid_json"
    yield "NaN", http_event('{"input": NaN}'), 400, "invalid_json"
    yield "deep JSON", http_event(DEEP), 400, "invalid_json"
    yield "deep JSON to rerank", http_event(DEEP, "/v1/rerank"), 400, "invalid_json"
    yield "a very long number", http_event('{"input": ' + "9" * 10_000 + "}"), 400, "invalid_json"
    yield "bad base64", http_event("%%%" + SECRET, isBase64Encoded=True), 400, "invalid_request"
    yield (
        "not UTF-8",
        http_event(base64.b64encode(b"\xff\xfe").decode(), isBase64Encoded=True),
        400,
        "invalid_json",
    )
    yield "lone surrogate in the event", http_event('{"input": "' + SECRET + '\ud800"}'), 400, "invalid_json"
    yield "lone surrogate in the JSON", http_event('{"input": "' + SECRET + '\\ud800"}'), 400, "invalid_text"
    yield "NUL", post({"input": SECRET + "\0"}), 400, "invalid_text"
    yield "a list", post([SECRET]), 400, "invalid_field"
    yield "no input", post({}), 400, "missing_field"
    yield "empty input", post({"input": []}), 400, "invalid_field"
    yield "empty text", post({"input": ""}), 400, "invalid_text"
    yield "token ids", post({"input": [[1, 2, 3]]}), 400, "invalid_field"
    yield "wrong type", post({"input": {SECRET: 1}}), 400, "invalid_field"
    yield "unknown field and no input", post({"typo": SECRET}), 400, "missing_field"
    yield "wrong dimensions", post({"input": "a", "dimensions": 5}), 400, "invalid_field"
    yield "five megabytes", post({"input": SECRET + "x" * 5_000_000}), 413, "limit_exceeded"
    yield (
        "a million empty documents",
        post({"query": "q", "documents": [""] * 1_000_000}, "/v1/rerank"),
        413,
        "limit_exceeded",
    )
    yield "top_n zero", post({**rerank, "top_n": 0}, "/v1/rerank"), 400, "invalid_field"
    yield "no such route", http_event("", "/" + SECRET), 404, "not_found"
    yield "wrong method", http_event("", "/v1/rerank", "DELETE"), 405, "method_not_allowed"
    yield (
        "odd host",
        http_event("{", headers={"host": "a:b:c", "x-forwarded-port": "abc"}),
        400,
        "invalid_json",
    )
    yield "headers null", http_event("{", headers=None), 400, "invalid_json"
