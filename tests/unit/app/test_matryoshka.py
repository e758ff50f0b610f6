"""``dimensions`` in a request: only what the model was trained for, at length 1, the same in every API."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest

from lambda_app.api.providers.info import describe
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.coldstart.logs import JsonLog
from lambda_app.dispatch import Dispatcher
from lambda_app.errors import FieldError, ResponseTooLargeError
from lambda_app.service.service import Service
from lambda_app.service.types import EmbedRequest
from lambda_app.service.validation import BYTES_PER_NUMBER
from lambda_app.settings import Settings
from tests.support.fakes import Context, FakeEmbedder, FakeRuntime, http_v2, invocation, model_info

TEXTS = ["a", "three"]


def service(matryoshka: tuple[int, ...] = (3, 2)) -> Service:
    runtime = FakeRuntime(Settings.from_env({}))
    runtime.embedder = FakeEmbedder(model_info("embedding", matryoshka=matryoshka))
    runtime.bundle = runtime.bundle._replace(embedding=runtime.embedder.model)
    return Service(runtime)  # type: ignore[arg-type]  # the part of a runtime that a service uses


def call(event: dict[str, Any]) -> Any:
    settings = Settings.from_env({})
    return Dispatcher(service(), settings, JsonLog(settings.log_level), PhaseClock())(event, Context())


def test_vectors_are_cut_and_have_length_1_again() -> None:
    whole = service().embed(EmbedRequest(TEXTS, "query"), invocation()).vectors
    assert whole.shape == (2, 4)
    for dimensions in (4, 3, 2):
        result = service().embed(EmbedRequest(TEXTS, "query", dimensions=dimensions), invocation())
        cut = whole[:, :dimensions]
        expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
        assert result.dimensions == dimensions
        assert result.vectors.dtype == np.float32
        np.testing.assert_allclose(result.vectors, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("matryoshka", "dimensions", "message"),
    [
        ((3, 2), 1, "dimensions must be one of 4, 3, 2"),
        ((3, 2), 0, "dimensions must be one of 4, 3, 2"),
        ((3, 2), -2, "dimensions must be one of 4, 3, 2"),
        ((), 2, "dimensions must be 4: this model's vectors cannot be shortened"),
    ],
)
def test_what_the_model_was_not_trained_for(
    matryoshka: tuple[int, ...], dimensions: int, message: str
) -> None:
    with pytest.raises(FieldError, match=message) as caught:
        service(matryoshka).embed(EmbedRequest(TEXTS, "query", dimensions=dimensions), invocation())
    assert caught.value.param == "dimensions"


def test_http_and_direct_agree() -> None:
    event = {"action": "embed", "texts": TEXTS, "input_type": "query", "dimensions": 2}
    direct = call(event)
    assert direct["dimensions"] == 2
    body = {"input": TEXTS, "input_type": "query", "dimensions": 2}
    answer = json.loads(call(http_v2("/v1/embeddings", body))["body"])
    assert [item["embedding"] for item in answer["data"]] == direct["embeddings"]
    encoded = call({**event, "encoding": "base64"})["embeddings"]
    found = [np.frombuffer(base64.b64decode(vector), "<f4") for vector in encoded]
    np.testing.assert_array_equal(np.array(found), np.array(direct["embeddings"], np.float32))
    assert call({**event, "dimensions": 1})["error"]["param"] == "dimensions"
    assert call({**event, "dimensions": "2"})["error"]["code"] == "invalid_field"


def test_more_short_vectors_fit_an_answer() -> None:
    tight = int(len(TEXTS) * 2 * BYTES_PER_NUMBER["float"])
    with pytest.raises(ResponseTooLargeError, match="cannot fit"):
        service().embed(EmbedRequest(TEXTS, "query"), invocation(response_bytes=tight))
    request = EmbedRequest(TEXTS, "query", dimensions=2)
    assert service().embed(request, invocation(response_bytes=tight)).dimensions == 2


def test_info_names_them() -> None:
    assert describe(service(), {}, invocation())["models"]["embedding"]["matryoshka"] == [3, 2]
