"""Values of fields as clients write them: words in any case, whole numbers as fractions, flags as words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from lambda_app.api.docs.openapi_document import document
from lambda_app.api.parsing.fields import one_of, optional_flag, optional_integer, word_of
from lambda_app.errors import FieldError
from tests.support.fakes import Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
CHANGES: Mapping[str, Callable[[str], str]] = {"upper": str.upper, "lower": str.lower, "title": str.title}


def send(path: str, body: Any) -> tuple[int, Any]:
    answer = DISPATCHER(http_v2(path, body), Context())
    return answer["statusCode"], json.loads(answer["body"])


def words(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[tuple[list[str], bool]]:
    """The enumerations of a field's schema, and whether they are of the items of a list."""
    found = [(schema["enum"], False)] if "enum" in schema else []
    for inner in schema.get("anyOf", ()):
        found += words(inner, schemas)
    items = schema.get("items")
    if isinstance(items, dict):
        found += [(enum, True) for enum, _ in words(items, schemas)]
    return found


def kinds(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The objects that a body may be."""
    if "$ref" in schema:
        return kinds(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return (
        [one for inner in schema["anyOf"] for one in kinds(inner, schemas)] if "anyOf" in schema else [schema]
    )


def every_enumeration() -> list[Any]:
    """(path, example, field, word, in a list) for each word of each enumeration of the OpenAPI document."""
    found = document()
    schemas = found["components"]["schemas"]
    cases = []
    for path, operations in found["paths"].items():
        body = operations.get("post", {}).get("requestBody")
        if body is None:
            continue
        content = body["content"]["application/json"]
        for schema in kinds(content["schema"], schemas):
            needed = set(schema.get("required", ()))
            examples = [example["value"] for example in content["examples"].values()]
            example = next(value for value in examples if needed <= value.keys())
            for name, inner in schema["properties"].items():
                for enum, listed in words(inner, schemas):
                    label = f"{path} {name}"
                    cases += [
                        pytest.param(
                            path.replace("{model}", "m"),
                            {**example, name: [word] if listed else word},
                            name,
                            id=f"{label} {word}{' in a list' if listed else ''}",
                        )
                        for word in enum
                    ]
    return cases


ENUMERATIONS = every_enumeration()


def test_every_provider_has_enumerations() -> None:
    paths = {case.values[0] for case in ENUMERATIONS}
    assert {"/v1/embeddings", "/v1/embed", "/v2/embed", "/embed", "/rerank", "/tokenize", "/"} <= paths


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("path", "body", "name"), ENUMERATIONS)
def test_words_are_taken_in_any_case(path: str, body: dict[str, Any], name: str, change: str) -> None:
    rewrite = CHANGES[change]
    value = body[name]
    other = [rewrite(word) for word in value] if isinstance(value, list) else rewrite(value)
    body.pop("model", None)
    assert send(path, {**body, name: other}) == send(path, body)


@pytest.mark.parametrize("action", ["EMBED", "Embed"])
def test_words_of_direct_events_are_taken_in_any_case(action: str) -> None:
    event = {"action": "embed", "texts": ["a"], "encoding": "base64", "input_type": "query"}
    other = event | {"action": action, "encoding": "BASE64", "input_type": "Query"}
    assert DISPATCHER(other, Context()) == DISPATCHER(event, Context())
    assert "error" in DISPATCHER(other | {"max_response_bytes": 50}, Context())
    batch = {"BatchInput": {"action": action}, "Items": ["a", ""]}
    assert DISPATCHER(batch, Context())["embeddings"][1] is None
    batch = {"BatchInput": {"action": "RERANK", "query": "a"}, "Items": ["a", ""]}
    assert DISPATCHER(batch, Context())["results"][0]["index"] == 0


def test_the_parts_of_an_input_too() -> None:
    inputs = [{"content": [{"type": "Text", "text": "a"}]}]
    assert send("/v2/embed", {"inputs": inputs})[0] == 200


@pytest.mark.parametrize(
    "value", ["ＥＮＤ", "en\u212a", "ends", "", " end", "end\0", "x" * 1_000_000, 7, None, []]
)
def test_other_values_are_not_words(value: Any) -> None:
    assert word_of(value, ["END", "enk"]) is None
    with pytest.raises(FieldError, match=r"truncate must be one of END, enk$"):
        one_of(value, "truncate", ["END", "enk"])


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/embeddings", {"input": "a"}, "dimensions"),
        ("/v1/embeddings", {"input": "a"}, "output_dimension"),
        ("/v2/embed", {"texts": ["a"]}, "output_dimension"),
        ("/v2/embed", {"texts": ["a"]}, "max_tokens"),
        ("/embed", {"inputs": "a"}, "dimensions"),
        ("/v1/rerank", {"query": "a", "documents": ["b", "a"]}, "top_n"),
        ("/v2/rerank", {"query": "a", "documents": ["b", "a"]}, "max_tokens_per_doc"),
    ],
)
def test_a_whole_number_may_be_written_as_a_fraction(path: str, body: dict[str, Any], field: str) -> None:
    assert send(path, {**body, field: 4.0}) == send(path, {**body, field: 4})
    status, answer = send(path, {**body, field: 1.5})
    assert status in {400, 422}
    assert f"{field} must be a whole number, not a fraction" in json.dumps(answer)


@pytest.mark.parametrize(("value", "number"), [(1.0, 1), (1e3, 1000), (4, 4), (None, None)])
def test_whole_numbers(value: Any, number: int | None) -> None:
    found = optional_integer({"n": value}, "n")
    assert found == number
    assert not isinstance(found, float)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.5, "not a fraction"),
        (float("nan"), "not a number"),
        (float("inf"), "not a number"),
        ("4", "not a string"),
        (True, "not a boolean"),
        (-0.0, "at least 1"),
    ],
)
def test_what_is_no_whole_number(value: Any, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        optional_integer({"n": value}, "n")


@pytest.mark.parametrize(
    ("value", "flag"), [(True, True), ("true", True), ("True", True), ("FALSE", False), (None, False)]
)
def test_flags_may_be_words(value: Any, flag: bool) -> None:
    assert optional_flag({"f": value}, "f") is flag


@pytest.mark.parametrize("value", ["yes", "", "1", 1, 0, 1.0, []])
def test_what_is_no_flag(value: Any) -> None:
    with pytest.raises(FieldError, match="f must be true or false, not a"):
        optional_flag({"f": value}, "f")


@pytest.mark.parametrize("path", ["/v1/embed", "/v2/embed"])
def test_a_request_with_images_only_says_that_the_model_reads_text(path: str) -> None:
    status, answer = send(path, {"images": ["data:image/png;base64,AA=="], "input_type": "image"})
    assert status == 400
    assert answer["message"] == "images cannot be embedded: the model reads text"


def test_an_image_among_texts_says_that_the_model_reads_text() -> None:
    status, answer = send("/v1/embeddings", {"input": ["a", {"image": "https://a.example/b.png"}]})
    assert status == 400
    assert answer["error"]["message"].endswith("the model reads text")
    assert answer["error"]["param"] == "input[1]"
