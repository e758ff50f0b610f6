"""Vectors of a tiny real model: their length, their company in a batch, prompts, and texts that are cut."""

from __future__ import annotations

import numpy as np
import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.models.embedder import Embedder, InputType
from lambda_app.models.tokenizer.templates import Template
from lambda_app.start import start
from tests.support.fakes import http_v2
from tests.support.tiny_function import TEXTS, call, embed, environ


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
    # Only the prompt of the requested input type is recognised.
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


def test_a_text_without_tokens_fails_only_its_own_item(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle), PhaseClock())
    function._service.registry.embedder._tokenizer._single = NO_SPECIAL_TOKENS
    batch = {"BatchInput": {"action": "embed"}, "Items": ["", "a", "\u200b", "b", "\u200b", 7]}
    answer = call(function, batch)
    assert [row is None for row in answer["embeddings"]] == [True, False, True, False, True, True]
    assert [answer["embeddings"][1], answer["embeddings"][3]] == embed(function, ["a", "b"]).tolist()
    assert [(error["index"], error["param"]) for error in answer["errors"]] == [
        (index, f"Items[{index}]") for index in (0, 2, 4, 5)
    ]
    error = call(function, {**batch, "Items": ["\u200b", ""]})["error"]
    assert (error["code"], error["param"]) == ("invalid_text", "Items[0]")


@pytest.mark.parametrize("documents", [["\u200b", "a"], ["\u0301", "a"], ["\u0301", "\u200b"]])
def test_a_document_without_tokens_is_ranked_last(tiny_bundle: Bundle, documents: list[str]) -> None:
    """A zero-width space, and an accent alone, which the tokenizer strips."""
    function = start(environ(tiny_bundle), PhaseClock())
    registry = function._service.registry
    registry.bundle = registry.bundle._replace(rerank_kind="bi-encoder", reranker=None)
    registry.embedder._tokenizer._single = NO_SPECIAL_TOKENS
    results = call(function, {"action": "rerank", "query": "a", "documents": documents})["results"]
    blank = [index for index, document in enumerate(documents) if document != "a"]
    assert [(result["index"], result["score"]) for result in results][-len(blank) :] == [
        (index, 0.0) for index in blank
    ]
