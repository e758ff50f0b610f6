"""The input type at the end of a model's name, and what is not one."""

from __future__ import annotations

from typing import Any

import pytest

from lambda_app.api.parsing.input_type import INPUT_TYPES, agreed, of_model_name
from lambda_app.errors import FieldError
from tests.support.fakes import Context, FakeEmbedder, fake_dispatcher, fake_service, http_v2, model_info


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("e5:query", "query"),
        ("intfloat/e5-base-v2:Query", "query"),
        ("e5:PASSAGE", "passage"),
        ("a:b:document", "passage"),
        (":none", "none"),
        ("query", None),
        ("e5query", None),
        ("", None),
    ],
)
def test_the_word_after_the_last_colon(name: str, expected: str | None) -> None:
    assert of_model_name(name, has_prompts=True) == expected
    assert of_model_name(name, has_prompts=False) == expected


@pytest.mark.parametrize(
    "name",
    [
        "x:qeury",
        "x:QEURY",
        "x:quer",
        "x:passages",
        "x:doc",
        "x:search_query",
        "x:retrieval.query",
        "x:query ",
        "x:query2",
    ],
)
def test_a_misspelt_input_type_is_refused_where_the_model_has_prompts(name: str) -> None:
    with pytest.raises(FieldError, match="no input type: after the colon write query, passage") as caught:
        of_model_name(name, has_prompts=True)
    assert caught.value.param == "model"
    assert of_model_name(name, has_prompts=False) is None


@pytest.mark.parametrize(
    "name",
    [
        *("nomic-embed-text:latest", "bge-m3:567m", "amazon.titan-embed-text-v2:0", "all-minilm:l6-v2"),
        *("arn:aws:bedrock:us-east-1::foundation-model/cohere.embed-english-v3", "e5:", "http://host:8000/m"),
        *("ollama:nomic-embed-text", "registry:5000/e5:v1.5", ":"),
    ],
)
def test_a_colon_in_an_ordinary_name_is_no_mistake(name: str) -> None:
    assert of_model_name(name, has_prompts=True) is None


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/embeddings", {"input": "a"}), ("/v1/embed", {"texts": ["a"]}), ("/v2/embed", {"texts": ["a"]})],
)
def test_a_misspelt_alias_over_http(path: str, body: dict[str, Any]) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    answer = dispatcher(http_v2(path, {**body, "model": "x:qeury"}), Context())
    assert answer["statusCode"] == 400
    assert "no input type" in answer["body"]
    assert "qeury" not in answer["body"]
    # Stating the input type in another field does not hide the mistake.
    field = "search_query" if "texts" in body else "query"
    answer = dispatcher(http_v2(path, {**body, "model": "x:qeury", "input_type": field}), Context())
    assert answer["statusCode"] == 400


def test_aliases_of_direct_events() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR"})
    event = {"action": "embed", "texts": ["a"]}
    query = dispatcher({**event, "input_type": "query"}, Context())
    assert dispatcher({**event, "model": "e5:query"}, Context()) == query
    assert dispatcher({**event, "model": "e5:qeury"}, Context())["error"]["param"] == "model"
    error = dispatcher({**event, "model": "e5:query", "input_type": "passage"}, Context())["error"]
    assert error["param"] == "input_type"


@pytest.mark.parametrize(
    ("prompts", "expected"),
    [({"query": "query: ", "passage": ""}, True), ({"query": ""}, False), ({}, False)],
)
def test_whether_the_model_has_prompts(prompts: dict[str, str], expected: bool) -> None:
    service = fake_service()
    model = model_info("embedding", prompts=prompts)
    service.registry.embedder = FakeEmbedder(model)  # type: ignore[misc,assignment]
    service.registry.bundle = service.registry.bundle._replace(embedding=model)
    assert service.has_prompts is expected


def test_two_fields_that_agree() -> None:
    assert agreed({"input_type": "query", "model": "query", "task": None}, "passage") == "query"
    assert agreed({"input_type": None}, "passage") == "passage"
    assert set(INPUT_TYPES.values()) == {"query", "passage", "none"}
