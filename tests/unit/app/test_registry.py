"""The real function over a tiny real bundle: what init opens, what it imports, and what comes out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lambda_app.bundle import Bundle, checksum
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.errors import BundleError, ModelUnavailableError
from lambda_app.models.embedder import Embedder, InputType
from lambda_app.models.registry import ModelRegistry
from lambda_app.models.reranker import Reranker
from lambda_app.models.tokenizer.templates import Template
from lambda_app.settings import Settings
from lambda_app.start import start
from tests.support.fakes import Context, http_v2

ROOT = Path(__file__).resolve().parents[3]

TEXTS = [
    "short",
    "a somewhat longer text about embeddings",
    "x " * 80,
    "naïve café",
    "東京は日本の首都です。",
    "😀",
]

# Every package outside of the standard library that init imports. The web layer is by far the largest part of
# a cold start, so a new name here is a decision, not an accident.
BASE = {"lambda_app"}
SESSIONS = {"numpy", "onnxruntime"}
# Cython keeps a module of its own beside those that it compiles.
COMPILED = {"marisa_trie", "cython_runtime"}
WEB = {
    *("fastapi", "starlette", "pydantic", "pydantic_core", "mangum", "anyio", "opentelemetry"),
    *("annotated_doc", "annotated_types", "typing_extensions", "typing_inspection"),
    # FastAPI imports it where it is installed; here it writes vectors.
    "orjson",
}

LIST_PACKAGES = """
import sys
import time
before = set(sys.modules)
import lambda_app.handler
packages = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(name for name in packages if name not in sys.stdlib_module_names and not name.startswith("_")))
"""


def environ(bundle: Bundle, **more: str) -> dict[str, str]:
    return {"MODEL_DIR": str(bundle.directory), "LOG_LEVEL": "ERROR", **more}


@pytest.fixture(scope="module")
def function(tiny_bundle: Bundle) -> Dispatcher:
    return start(environ(tiny_bundle), PhaseClock())


def call(function: Dispatcher, event: Any) -> Any:
    return function(event, Context())


def embed(function: Dispatcher, texts: list[str], **more: Any) -> np.ndarray:
    answer = call(function, {"action": "embed", "texts": texts, **more})
    return np.array(answer["embeddings"])


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


def test_vectors_have_length_one(function: Dispatcher) -> None:
    assert np.linalg.norm(embed(function, TEXTS), axis=1) == pytest.approx(1, abs=1e-6)


def test_a_text_alone_gives_its_vector_of_the_batch(function: Dispatcher) -> None:
    batch = embed(function, TEXTS)
    for text, vector in zip(TEXTS, batch, strict=True):
        # INT8 activations are scaled over the whole batch, so a text's company moves it a little.
        assert embed(function, [text])[0] @ vector > 0.99


def test_order_of_texts_does_not_matter(function: Dispatcher) -> None:
    forwards, backwards = embed(function, TEXTS), embed(function, TEXTS[::-1])
    assert forwards == pytest.approx(backwards[::-1], abs=1e-5)


def test_a_prompt_is_not_added_twice(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.embedding is not None
    prompts = {"query": "query: ", "passage": "passage: "}
    embedder = Embedder.open(tiny_bundle.embedding._replace(prompts=prompts), threads=1)

    def vector(text: str, input_type: InputType) -> list[float]:
        return list(embedder.embed([text], input_type).vectors[0])

    prompted = "query: what is it?"
    assert vector("what is it?", "query") == vector(prompted, "query") == vector(prompted, "none")
    assert vector("what is it?", "query") != vector("what is it?", "none")
    # Only the prompt of the requested role is recognised.
    assert vector(prompted, "passage") == vector("passage: " + prompted, "none")


def test_what_loses_its_start_keeps_its_prompt(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.embedding is not None
    model = tiny_bundle.embedding._replace(prompts={"query": "query: ", "passage": ""}, max_tokens=16)
    embedder = Embedder.open(model, threads=1)
    words = [chr(ord("a") + number % 26) for number in range(60)]
    whole = embedder.tokens([" ".join(words)], "query", special=True)[0]
    kept = len(embedder.tokens([""], "query", special=True)[0])
    tail = " ".join(words[-(16 - kept) :])
    assert [len(row) for row in embedder.tokens([tail], "query", special=True)] == [16]
    cut = embedder.embed([" ".join(words)], "query", truncation_side="left")
    assert cut.truncated == (0,)
    assert len(whole) > 16
    assert cut.vectors == pytest.approx(embedder.embed([tail], "query").vectors)
    # The same with a limit of its own: two words beside the prompt.
    limited = embedder.embed([" ".join(words)], "query", truncation_side="left", max_tokens=2)
    assert limited.vectors == pytest.approx(embedder.embed([" ".join(words[-2:])], "query").vectors)


def test_texts_of_too_many_tokens_are_not_all_tokenized(function: Dispatcher) -> None:
    started = time.monotonic()
    answer = call(function, http_v2("/tokenize", {"inputs": ["!" * 200_000] * 20}))
    assert answer["statusCode"] == 413
    assert json.loads(answer["body"])["code"] == "response_too_large"
    assert time.monotonic() - started < 2


NO_SPECIAL_TOKENS = Template(((), ()), ((), ()), (0,))


@pytest.mark.parametrize(
    ("texts", "place"), [(["\u200b"], 0), (["a", "\u200b", "b"], 1), (["\u200b", "\u200b"], 0)]
)
def test_a_text_without_tokens_is_refused_by_its_place(
    tiny_bundle: Bundle, texts: list[str], place: int
) -> None:
    function = start(environ(tiny_bundle), PhaseClock())
    embedder = function._service.registry.embedder
    # With the special tokens around it, there is something to read.
    assert len(embed(function, texts)) == len(texts)
    embedder._tokenizer._single = NO_SPECIAL_TOKENS
    error = call(function, {"action": "embed", "texts": texts})["error"]
    assert (error["code"], error["param"]) == ("invalid_text", f"texts[{place}]")
    answer = call(function, http_v2("/v1/embeddings", {"input": texts}))
    assert answer["statusCode"] == 400
    assert len(embed(function, ["a", "b"])) == 2
    with pytest.raises(ValueError, match="has no tokens"):
        embedder.embed(texts, "none")


def test_a_pair_without_tokens_is_refused_by_its_place(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle), PhaseClock())
    tokenizer = function._service.registry.reranker._tokenizer
    tokenizer._pair = Template(((), (), ()), ((), (), ()), (0, 0))
    tokenizer._backend = lambda texts, limit, tick=None: [[5] * (text != "\u200b") for text in texts]
    ask = {"action": "rerank", "query": "\u200b", "documents": ["a", "\u200b"]}
    error = call(function, ask)["error"]
    assert (error["code"], error["param"]) == ("invalid_text", "documents[1]")
    assert len(call(function, {**ask, "query": "q"})["results"]) == 2


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


def test_what_is_not_preloaded_opens_on_first_use(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle, PRELOAD=""), PhaseClock())
    assert function._service.registry._embedder is None
    assert len(embed(function, ["a"])) == 1
    assert function._service.registry._reranker is None
    assert call(function, {"action": "rerank", "query": "a", "documents": ["b"]})["results"]
    assert call(function, http_v2("/health"))["statusCode"] == 200


def test_models_chooses_what_is_served(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle, MODELS="reranker"), PhaseClock())
    answer = call(function, {"action": "embed", "texts": ["a"]})
    assert answer["error"]["code"] == "model_unavailable"
    answer = call(function, http_v2("/v1/embeddings", {"input": "a"}))
    assert answer["statusCode"] == 404
    assert call(function, {"action": "rerank", "query": "a", "documents": ["b"]})["results"]
    models = json.loads(call(function, http_v2("/v1/models"))["body"])["data"]
    assert [model["id"] for model in models] == [tiny_bundle.reranker.id if tiny_bundle.reranker else ""]


def test_a_runtime_without_the_model_says_so(tiny_bundle: Bundle) -> None:
    settings = Settings.from_env(environ(tiny_bundle, MODELS="embedding"))
    with pytest.raises(ModelUnavailableError):
        _ = ModelRegistry(settings, PhaseClock()).reranker


@pytest.mark.parametrize("kind", ["provisioned-concurrency", "snap-start"])
def test_ahead_of_traffic_everything_is_warm(tiny_bundle: Bundle, kind: str) -> None:
    function = start(environ(tiny_bundle, AWS_LAMBDA_INITIALIZATION_TYPE=kind), PhaseClock())
    phases = call(function, {"action": "info"})["cold_start"]["phases_ms"]
    assert "first inference" in phases
    assert len(embed(function, ["a"])) == 1


def packages(variables: Mapping[str, str]) -> set[str]:
    environment = {"PATH": os.defpath, **variables}
    result = subprocess.run(
        [sys.executable, "-c", LIST_PACKAGES],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    names: list[str] = json.loads(result.stdout.splitlines()[-1].replace("'", '"'))
    return set(names)


@pytest.mark.parametrize(
    ("preload", "expected"),
    [
        ("", BASE),
        ("embedding", BASE | SESSIONS | COMPILED),
        ("reranker", BASE | SESSIONS | COMPILED),
        ("embedding,reranker", BASE | SESSIONS | COMPILED),
        ("http", BASE | WEB),
        ("embedding,reranker,http", BASE | SESSIONS | COMPILED | WEB),
    ],
)
def test_init_imports_these_packages_and_no_others(
    tiny_bundle: Bundle, preload: str, expected: set[str]
) -> None:
    assert packages(environ(tiny_bundle, PRELOAD=preload)) == expected


def test_what_cannot_be_opened_ends_init(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """A graph that onnxruntime refuses, in a bundle that is whole."""
    root = tmp_path / "models"
    shutil.copytree(tiny_bundle.directory, root)
    graph = root / "embedding" / "model.onnx"
    graph.write_bytes(b"\0" * graph.stat().st_size)
    manifest = json.loads((root / "manifest.json").read_text())
    for file in manifest["models"]["embedding"]["files"]:
        if file["path"] == "embedding/model.onnx":
            file["sha256"] = sha256(graph.read_bytes()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(manifest | {"checksum": checksum(manifest)}))
    with pytest.raises(BundleError, match=r"onnxruntime cannot open embedding/model\.onnx"):
        start({"MODEL_DIR": str(root), "LOG_LEVEL": "ERROR"}, PhaseClock())


@pytest.mark.parametrize("cpus", [1, 2])
def test_one_cpu_and_two_give_the_same(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, cpus: int
) -> None:
    monkeypatch.setattr("lambda_app.models.registry.available_cpus", lambda: cpus)
    function = start(environ(tiny_bundle, INFERENCE_THREADS="1"), PhaseClock())
    phases = call(function, {"action": "info"})["cold_start"]["phases_ms"]
    assert "first inference" not in phases
    assert len(embed(function, ["a"])) == 1
