"""/v1/embeddings and /v1/models: what OpenAI's, Voyage's, Jina's and NVIDIA's clients send and read."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.support.api_calls import DISPATCHER, LONG, ask, vector
from tests.support.fakes import (
    Context,
    FakeEmbedder,
    http_v2,
)


@pytest.mark.parametrize(
    ("fields", "input_type"),
    [
        ({}, "passage"),
        ({"input_type": None}, "passage"),
        ({"input_type": "query"}, "query"),
        ({"input_type": "document"}, "passage"),
        ({"input_type": "none"}, "none"),
        ({"model": "e5-base-v2:query"}, "query"),
        ({"model": "intfloat/e5-base-v2:passage"}, "passage"),
        ({"model": "e5-base-v2:none"}, "none"),
        ({"model": "text-embedding-3-small:latest"}, "passage"),
        ({"model": "e5:query", "input_type": "query"}, "query"),
        ({"task": "retrieval.query"}, "query"),
        ({"task": "retrieval.passage"}, "passage"),
        ({"task": "classification"}, "query"),
    ],
)
def test_input_types_over_openais_route(fields: dict[str, Any], input_type: str) -> None:
    answer = ask("/v1/embeddings", {"input": "text", **fields})
    assert answer["data"][0]["embedding"] == vector("text", input_type)
    assert answer["model"] == "test/embedding"


def test_two_fields_may_not_ask_for_different_input_types() -> None:
    body = {"input": "text", "model": "e5:query", "input_type": "document"}
    error = ask("/v1/embeddings", body, 400)["error"]
    assert error["param"] == "input_type"
    assert "input_type and model ask for different input types" in error["message"]


def test_voyages_fields() -> None:
    body = {"input": [LONG], "model": "voyage-3", "input_type": None, "truncation": True}
    body |= {"output_dtype": None, "output_dimension": None, "encoding_format": "base64"}
    answer = ask("/v1/embeddings", body)
    raw = base64.b64decode(answer["data"][0]["embedding"])
    assert np.frombuffer(raw, "<f4").tolist() == np.array(vector(LONG, "passage"), "<f4").tolist()
    assert answer["truncated"] == [0]

    error = ask("/v1/embeddings", body | {"truncation": False}, 413)
    assert error["error"]["code"] == "limit_exceeded"
    assert error["detail"] == error["error"]["message"]
    assert ask("/v1/embeddings", body | {"output_dimension": 3}, 400)["error"]["param"] == "output_dimension"
    assert ask("/v1/embeddings", body | {"dimensions": 3}, 400)["error"]["param"] == "dimensions"
    for dtype in ("int8", "uint8", "binary", "ubinary"):
        answer = ask("/v1/embeddings", body | {"output_dtype": dtype})
        kind = np.dtype("int8" if dtype in {"int8", "binary"} else "uint8")
        numbers = ask("/v1/embeddings", body | {"output_dtype": dtype, "encoding_format": None})
        found = np.frombuffer(base64.b64decode(answer["data"][0]["embedding"]), kind)
        assert found.tolist() == numbers["data"][0]["embedding"]


def test_jinas_fields() -> None:
    body = {"model": "jina-embeddings-v3", "input": [{"text": "one"}, "two"], "normalized": True}
    body |= {"late_chunking": False, "truncate": True, "dimensions": 4}
    for kind in ("embedding_type", "encoding_type"):
        assert isinstance(ask("/v1/embeddings", body | {kind: "float"})["data"][1]["embedding"][0], float)
        assert isinstance(ask("/v1/embeddings", body | {kind: ["base64"]})["data"][0]["embedding"], str)
        assert len(ask("/v1/embeddings", body | {kind: "ubinary"})["data"][0]["embedding"]) == 1
        assert ask("/v1/embeddings", body | {kind: ["float", "base64"]}, 400)["error"]["param"] == kind
    for change in ({"late_chunking": True}, {"normalized": False}, {"task": "code.query"}):
        assert ask("/v1/embeddings", body | change, 400)["error"]["param"] == next(iter(change))
    assert ask("/v1/embeddings", body | {"truncate": False, "input": [LONG]}, 413)


@pytest.mark.parametrize(("word", "side"), [("START", "left"), ("END", "right"), ("NONE", None)])
def test_nvidias_words_for_truncation(word: str, side: str | None) -> None:
    embedder = DISPATCHER._service.registry.embedder
    ask("/v1/embeddings", {"input": [LONG], "truncate": word}, 200 if side else 413)
    if side:
        assert isinstance(embedder, FakeEmbedder)
        assert embedder.asked["truncation_side"] == side


def test_models_and_their_aliases() -> None:
    listed = ask("/v1/models")
    names = [entry["id"] for entry in listed["data"]]
    assert names == ["test/embedding", "test/reranker", "test/embedding:query", "test/embedding:passage"]
    for entry in listed["data"]:
        assert entry.keys() == {"id", "object", "created", "owned_by"}
        assert ask(f"/v1/models/{entry['id']}") == entry
    error = ask("/v1/models/gpt-4o", status=404)["error"]
    assert (error["code"], error["param"]) == ("not_found", "model")


@pytest.mark.parametrize(
    ("path", "body", "input_type"),
    [
        ("/openai/deployments/e5:query/embeddings", {}, "query"),
        ("/openai/deployments/e5%3Aquery/embeddings", {"model": None}, "query"),
        ("/openai/deployments/intfloat/e5:none/embeddings", {}, "none"),
        ("/openai/deployments/e5:query/embeddings", {"model": "e5:passage"}, "passage"),
        ("/openai/deployments/e5/embeddings", {}, "passage"),
        ("/openai/v1/embeddings", {"model": "e5:query"}, "query"),
        ("/embeddings", {"model": "e5:query"}, "query"),
    ],
)
def test_azures_deployment_stands_for_the_model(path: str, body: dict[str, Any], input_type: str) -> None:
    event = http_v2(path, {"input": "text", **body}) | {"rawQueryString": "api-version=2024-10-21"}
    answer = json.loads(DISPATCHER(event, Context())["body"])
    assert answer["data"][0]["embedding"] == vector("text", input_type)
