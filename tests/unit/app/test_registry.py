"""The models of a real function over a tiny bundle: which are opened, and what comes out of them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.errors import BundleError, ModelUnavailableError
from lambda_app.models.embedder import Embedder
from lambda_app.models.registry import ModelRegistry
from lambda_app.models.reranker import Reranker
from lambda_app.settings import Settings
from lambda_app.start import start
from tests.support.fakes import http_v2
from tests.support.tiny_function import TEXTS, call, embed, environ


@pytest.mark.parametrize("content", [b"\0", b"{", b"[]", b"3", b"{}", b"\xff"])
def test_damaged_tokenizers_of_the_same_size_are_an_invalid_bundle(
    tiny_bundle: Bundle, tmp_path: Path, content: bytes
) -> None:
    copy = shutil.copytree(tiny_bundle.directory, tmp_path / "bundle")
    for path in copy.glob("*/*"):
        if path.name not in ("model.onnx", "model.bin"):
            path.write_bytes(content.ljust(path.stat().st_size))
    bundle = Bundle.open(copy)
    for model, kind in ((bundle.embedding, Embedder), (bundle.reranker, Reranker)):
        if model is not None:
            with pytest.raises(BundleError, match="the tokenizer in") as caught:
                kind.open(model, threads=1)
            assert str(tmp_path) not in caught.value.message


def test_texts_of_too_many_tokens_are_not_all_tokenized(function: Dispatcher) -> None:
    started = time.process_time()
    answer = call(function, http_v2("/tokenize", {"inputs": ["!" * 200_000] * 20}))
    assert answer["statusCode"] == 413
    assert json.loads(answer["body"])["code"] == "response_too_large"
    assert time.process_time() - started < 2


def test_http_and_direct_answers_agree(function: Dispatcher) -> None:
    direct = call(function, {"action": "embed", "texts": TEXTS, "input_type": "query"})
    http = json.loads(
        call(function, http_v2("/v1/embeddings", {"input": TEXTS, "input_type": "query"}))["body"]
    )
    assert [item["embedding"] for item in http["data"]] == direct["embeddings"]
    assert http["truncated"] == direct["truncated"] == [2]

    request = {"query": "what is it?", "documents": TEXTS}
    direct = call(function, {"action": "rerank", **request})
    http = json.loads(call(function, http_v2("/v1/rerank", request))["body"])
    assert [(r["index"], r["relevance_score"]) for r in http["results"]] == [
        (r["index"], r["score"]) for r in direct["results"]
    ]
    scores = [result["score"] for result in direct["results"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_control_tokens_in_a_text_are_text(function: Dispatcher) -> None:
    one = call(function, {"action": "embed", "texts": ["a b"]})["usage"]["tokens"]
    spelt = call(function, {"action": "embed", "texts": ["a [SEP] b"]})["usage"]["tokens"]
    assert spelt >= one + 3


def test_the_fingerprint_is_in_headers_and_info(function: Dispatcher) -> None:
    answer = call(function, http_v2("/v1/embeddings", {"input": "a"}))
    info = call(function, {"action": "info"})
    assert answer["headers"]["x-model-fingerprint"] == info["models"]["embedding"]["fingerprint"]
    assert info["models"]["embedding"]["fingerprint"].startswith("sha256:")


def test_info_is_json_and_names_phases(function: Dispatcher) -> None:
    info = json.loads(json.dumps(call(function, {"action": "info"}), allow_nan=False))
    assert {"interpreter", "imports", "sessions", "tokenizers", "app", "total"} <= set(
        info["cold_start"]["phases_ms"]
    )
    assert info["rerank_kind"] == "cross-encoder"
    http = json.loads(call(function, http_v2("/info"))["body"])
    assert http["models"] == info["models"]


def test_models_chooses_what_is_served(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle, MODELS="reranker"), PhaseClock())
    answer = call(function, {"action": "embed", "texts": ["a"]})
    assert answer["error"]["code"] == "model_unavailable"
    answer = call(function, http_v2("/v1/embeddings", {"input": "a"}))
    assert answer["statusCode"] == 404
    assert call(function, {"action": "rerank", "query": "a", "documents": ["b"]})["results"]
    models = json.loads(call(function, http_v2("/v1/models"))["body"])["data"]
    assert [model["id"] for model in models] == [tiny_bundle.reranker.id if tiny_bundle.reranker else ""]


def test_a_registry_without_the_model_says_so(tiny_bundle: Bundle) -> None:
    settings = Settings.from_env(environ(tiny_bundle, MODELS="embedding"))
    with pytest.raises(ModelUnavailableError):
        _ = ModelRegistry(settings, PhaseClock()).reranker


@pytest.mark.parametrize("cpus", [1, 2])
def test_one_cpu_and_two_give_the_same(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, cpus: int
) -> None:
    monkeypatch.setattr("lambda_app.models.registry.available_cpus", lambda: cpus)
    function = start(environ(tiny_bundle, INFERENCE_THREADS="1"), PhaseClock())
    phases = call(function, {"action": "info"})["cold_start"]["phases_ms"]
    assert "first inference" not in phases
    assert len(embed(function, ["a"])) == 1
