"""Errors over HTTP: one format for each route, and nothing of the caller's in it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lambda_app.api.http.error_responses import FORMATS
from lambda_app.api.routes import POSTS
from lambda_app.errors import InferenceError
from tests.support.api_calls import DISPATCHER, ask, send
from tests.support.fakes import (
    ERROR_BYTES,
    Context,
    FakeEmbedder,
    fake_dispatcher,
    http_v2,
    model_info,
)


@pytest.mark.parametrize("post", POSTS, ids=lambda post: post.path)
def test_every_familys_errors_in_its_own_form(post: Any) -> None:
    """Mistakes, a wrong method and a body that cannot be decoded: one form for each route."""
    form = {
        "openai": {"error"},
        "embeddings": {"error", "detail"},
        "rerank": {"id", "message", "detail", "error"},
        "cohere": {"id", "message", "code", "param"},
        "tei": {"error", "error_type", "code", "param"},
    }[post.errors]
    answers = [
        send(post.path, "[]"),
        send(post.path, method="DELETE"),
        DISPATCHER(http_v2(post.path, "!") | {"isBase64Encoded": True}, Context()),
        DISPATCHER(http_v2(post.path, {"inputs": "a"}) | {"body": {"a": 1}}, Context()),
    ]
    assert answers[1]["statusCode"] == 405
    for answer in answers:
        assert 400 <= answer["statusCode"] < 500
        assert json.loads(answer["body"]).keys() == form
        assert answer["headers"]["x-request-id"] == "request-1"
        assert len(answer["body"]) < ERROR_BYTES
    assert post.errors in FORMATS


def test_faults_of_ours_are_in_the_familys_form() -> None:
    class Broken(FakeEmbedder):
        def embed(self, texts: Any, input_type: Any, **options: Any) -> Any:
            raise InferenceError(f"cannot handle {texts}")

    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    dispatcher._service.registry.embedder = Broken(model_info("embedding"))  # type: ignore[misc,assignment]
    for path, body in (("/v2/embed", {"texts": ["SECRET"]}), ("/embed", {"inputs": "SECRET"})):
        answer = send(path, body, dispatcher)
        assert answer["statusCode"] == 500
        assert "inference_failed" in answer["body"]
        assert "SECRET" not in answer["body"]


def test_unknown_routes_have_openais_form() -> None:
    assert ask("/v1/chat/completions", {}, 404)["error"]["code"] == "not_found"


def test_an_empty_text_to_embed_is_refused_by_its_place() -> None:
    for path, field in (("/v1/embeddings", "input"), ("/embed", "inputs"), ("/v1/embed", "texts")):
        for text in ("", "a\0"):
            answer = send(path, {field: ["a", text]})
            assert answer["statusCode"] in {400, 422}
            assert f"{field}[1]" in answer["body"]
