"""Fields that a route does not have: ignored and named over HTTP, refused where that is asked for."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_app.api.docs.openapi_document import operations
from lambda_app.api.http.error_responses import FORMATS
from lambda_app.api.parsing.unknown import CUT, MAX_CHARACTERS, MAX_NAMES, listed, nearest_name, printable
from lambda_app.api.routes import POSTS
from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
STRICT = fake_dispatcher({"LOG_LEVEL": "ERROR", "UNKNOWN_FIELDS": "refuse"})
# An example of each route's body, by an address of the route.
GOOD: Mapping[str, dict[str, Any]] = {
    route.path.replace("{model}", "m"): next(iter(route.examples.values()))
    for route in operations()
    if route.request
}
PATHS = list(GOOD)
FORM = {post.path.replace("{model:path}", "m"): post.errors for post in POSTS}


def send(path: str, body: Any, *, strict: bool = False) -> dict[str, Any]:
    answer: dict[str, Any] = (STRICT if strict else DISPATCHER)(http_v2(path, body), Context())
    return answer


def details(answer: Mapping[str, Any]) -> tuple[str, str | None, str]:
    """Code, param and message of an error, whatever its format."""
    body = json.loads(answer["body"])
    inner = body["error"] if isinstance(body.get("error"), dict) else body
    return inner["code"], inner["param"], inner.get("message") or inner["error"]


@pytest.mark.parametrize("value", [True, None, {"a": 1}], ids=["true", "null", "object"])
@pytest.mark.parametrize("path", PATHS)
def test_an_unknown_field_is_ignored_and_named(path: str, value: Any) -> None:
    plain = send(path, GOOD[path])
    answer = send(path, {**GOOD[path], "drop_params": value, "overlap": 80})
    assert answer["statusCode"] == 200
    assert answer["body"] == plain["body"]
    assert answer["headers"]["x-ignored-fields"] == "drop_params, overlap"
    assert "x-ignored-fields" not in plain["headers"]


@pytest.mark.parametrize("path", PATHS)
def test_the_setting_brings_the_refusal_back(path: str) -> None:
    answer = send(path, {**GOOD[path], "drop_params": None}, strict=True)
    assert answer["statusCode"] == (
        422 if path in {"/", "/embed", "/rerank", "/similarity", "/tokenize"} else 400
    )
    assert details(answer)[:2] == ("unknown_field", "drop_params")
    assert "x-ignored-fields" not in answer["headers"]


def test_fields_of_nested_objects_are_named_with_where_they_are() -> None:
    body = {"inputs": {**GOOD["/similarity"]["inputs"], "more": 1}, "parameters": {"promt_name": "query"}}
    assert send("/similarity", body)["headers"]["x-ignored-fields"] == "inputs.more, parameters.promt_name"
    code, param, _ = details(send("/similarity", {**body, "parameters": {}}, strict=True))
    assert (code, param) == ("unknown_field", "inputs.more")
    del body["inputs"]["more"]
    assert "parameters.prompt_name" in details(send("/similarity", body, strict=True))[2]


@pytest.mark.parametrize(
    ("name", "nearest"), [("inputs", "input"), ("Imput", "input"), ("encodingFormat", "encoding_format")]
)
def test_a_refused_field_names_the_nearest(name: str, nearest: str) -> None:
    code, param, message = details(send("/v1/embeddings", {"input": "a", name: "x"}, strict=True))
    assert (code, param) == ("unknown_field", name)
    assert message == f"unknown field; nearest known field: {nearest}"


def test_direct_events_refuse_and_name_the_nearest() -> None:
    error = DISPATCHER({"action": "embed", "texts": ["a"], "dimension": 4}, Context())["error"]
    assert error["message"] == "unknown field; nearest known field: dimensions"
    assert (error["code"], error["param"]) == ("unknown_field", "dimension")
    error = DISPATCHER({"action": "rerank", "query": "a", "documents": ["b"], "xyz": 4}, Context())["error"]
    assert "the fields here are" in error["message"]


@pytest.mark.parametrize(
    ("path", "body"), [("/v1/embeddings", {"inputs": "a"}), ("/v2/embed", {"text": ["a"]})]
)
def test_a_missing_field_points_to_an_ignored_one_of_nearly_its_name(path: str, body: Any) -> None:
    answer = send(path, body)
    code, _, message = details(answer)
    assert code == "missing_field"
    assert message.endswith("an unknown field of this request has nearly that name")
    assert answer["headers"]["x-ignored-fields"] == next(iter(body))
    assert "nearly" not in details(send(path, {"zzz": 1}))[2]


def test_the_log_line_names_ignored_fields(capsys: pytest.CaptureFixture[str]) -> None:
    dispatcher = fake_dispatcher({})
    dispatcher(http_v2("/v1/embeddings", {"input": "a", "drop_params": "SECRET"}), Context())
    dispatcher(http_v2("/v1/embeddings", {"input": "a"}), Context())
    written = capsys.readouterr().out
    first, second = map(json.loads, written.splitlines())
    assert (first["outcome"], first["ignored_fields"]) == ("200", ["drop_params"])
    assert "ignored_fields" not in second
    assert "SECRET" not in written


@pytest.mark.parametrize(
    ("body", "outcome", "code"),
    [("{", "400", "invalid_json"), ({"input": ""}, "400", "invalid_text"), ({}, "400", "missing_field")],
)
def test_the_log_line_of_a_refused_request_has_the_errors_code(
    body: Any, outcome: str, code: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_dispatcher({})(http_v2("/v1/embeddings", body), Context())
    line = json.loads(capsys.readouterr().out)
    assert (line["outcome"], line["code"]) == (outcome, code)


def test_pages_of_other_origins_can_read_the_header() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "CORS_ALLOW_ORIGINS": "*"})
    event = http_v2("/v1/embeddings", {"input": "a", "b": 1}, headers={"origin": "https://a.example"})
    answer = dispatcher(event, Context())
    assert "x-ignored-fields" in answer["headers"]["access-control-expose-headers"]


NAMES = st.text(max_size=200) | st.text("\r\n\0,:\ud800é\u200b", min_size=1, max_size=5)


@given(st.lists(NAMES, max_size=40))
def test_a_header_of_any_names_is_short_and_plain(names: list[str]) -> None:
    header = ", ".join(listed(names))
    assert set(header) <= set(string.ascii_letters + string.digits + "_-.?, ")
    assert len(header) <= (MAX_NAMES + 1) * (MAX_CHARACTERS + len(CUT) + 2)
    assert bool(header) == bool(names)


@given(st.lists(NAMES, min_size=1, max_size=40), st.sampled_from(sorted(FORMATS)))
def test_any_names_over_http(extra: list[str], form: str) -> None:
    path = next(path for path in PATHS if FORM[path] == form)
    body = dict.fromkeys(extra) | GOOD[path]
    for strict in (False, True):
        answer = send(path, body, strict=strict)
        json.dumps(answer).encode()
        assert len(json.dumps(answer["headers"])) < 2_048
        if answer["statusCode"] != 200:
            assert len(answer["body"]) < ERROR_BYTES


def test_a_hundred_thousand_names_are_bounded() -> None:
    body = {f"{'x' * 20}{number}": 1 for number in range(100_000)} | {"input": "a"}
    answer = send("/v1/embeddings", body)
    assert answer["headers"]["x-ignored-fields"].endswith(f", {CUT}")
    assert len(answer["headers"]["x-ignored-fields"]) < 1_200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("drop_params", "drop_params"),
        ("a\r\nset-cookie: x", "a??set-cookie??x"),
        ("", "?"),
        ("\ud800é", "??"),
        ("x" * 65, "x" * 64 + CUT),
    ],
)
def test_names_are_cleaned(name: str, shown: str) -> None:
    assert printable(name) == shown


def test_no_name_is_near_another_word() -> None:
    assert nearest_name("best_of", ["input", "model"]) is None


RANKED = {"query": "abc", "documents": ["xa", "abc", "zz"]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        # RAGFlow: rag/llm/embedding_model.py and rerank_model.py.
        ("/v1/embeddings", {"input": ["a"], "encoding_format": "float", "drop_params": True}),
        ("/v1/embeddings", {"input": [{"text": "a"}], "task": "retrieval.passage", "truncate": True}),
        ("/v1/embeddings", {"input": ["a"], "input_type": "passage", "truncate": "END"}),
        ("/v1/rerank", {**RANKED, "return_documents": "true", "return_len": "true"}),
        ("/v1/rerank", {**RANKED, "top_n": 3, "max_chunks_per_doc": 1024, "overlap_tokens": 80}),
        # Xinference's client writes its defaults as null.
        (
            "/v1/rerank",
            {**RANKED, "top_n": None, "max_chunks_per_doc": None, "return_len": None, "kwargs": "{}"},
        ),
        # Elasticsearch: services/cohere/request/v2.
        ("/v2/rerank", {**RANKED, "return_documents": False, "top_n": 2, "max_chunks_per_doc": 10}),
        ("/v2/embed", {"texts": ["a"], "input_type": "search_query", "truncate": "start"}),
        # vLLM's own fields.
        ("/v1/embeddings", {"input": "a", "truncate_prompt_tokens": -1, "add_special_tokens": True}),
        ("/v1/rerank", {**RANKED, "truncate_prompt_tokens": -1, "use_activation": True}),
        # text-embeddings-inference over OpenAI's route.
        ("/v1/embeddings", {"input": "a", "prompt_name": "query"}),
    ],
)
def test_bodies_of_real_clients_are_answered(path: str, body: dict[str, Any]) -> None:
    assert send(path, {"model": "any", **body})["statusCode"] == 200


def ranks(path: str, **fields: Any) -> list[tuple[int, float]]:
    results = json.loads(send(path, {**RANKED, **fields})["body"])["results"]
    return [(result["index"], result["relevance_score"]) for result in results]


@pytest.mark.parametrize("fields", [{"top_k": 1}, {"raw_scores": True}, {"max_chunks_per_doc": 10}])
def test_both_versions_of_a_ranking_honour_the_same_fields(fields: dict[str, Any]) -> None:
    assert ranks("/v2/rerank", **fields) == ranks("/v1/rerank", **fields)
    assert (ranks("/v2/rerank", **fields) == ranks("/v2/rerank")) == ("max_chunks_per_doc" in fields)
    assert "x-ignored-fields" not in send("/v2/rerank", {**RANKED, **fields})["headers"]


def test_both_versions_refuse_long_documents_where_that_is_asked_for() -> None:
    body = {"query": "a", "documents": ["x" * 20], "truncation": False}
    for path in ("/v1/rerank", "/v2/rerank"):
        assert send(path, body)["statusCode"] == 413


def test_both_versions_of_embed_honour_the_same_fields() -> None:
    for path in ("/v1/embed", "/v2/embed"):
        body = {"texts": ["abcdef"], "embedding_types": ["float"]}
        answer = json.loads(send(path, {**body, "max_tokens": 2})["body"])
        assert "texts 0 are longer" in answer["meta"]["warnings"][0]
        code, param, _ = details(send(path, {**body, "output_dimension": 3}))
        assert (code, param) == ("invalid_field", "output_dimension")


def test_the_prompt_of_openais_route_by_teis_name() -> None:
    by_type = send("/v1/embeddings", {"input": "a", "input_type": "query"})
    assert send("/v1/embeddings", {"input": "a", "prompt_name": "query"})["body"] == by_type["body"]
    assert send("/v1/embeddings", {"input": "a"})["body"] != by_type["body"]
