"""Logits of a tiny real cross-encoder."""

from __future__ import annotations

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.models.tokenizer.templates import Template
from lambda_app.start import start
from tests.support.tiny_function import call, environ


def test_a_pair_without_tokens_is_ranked_last(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle), PhaseClock())
    tokenizer = function._service.registry.reranker._tokenizer
    tokenizer._pair = Template(((), (), ()), ((), (), ()), (0, 0))
    tokenizer._backend = lambda texts, limit, tick=None: [[5] * (text != "\u0301") for text in texts]
    ask = {"action": "rerank", "query": "\u0301", "documents": ["\u0301", "a"]}
    for query in ("\u0301", "q"):
        results = call(function, {**ask, "query": query})["results"]
        assert {result["index"] for result in results} == {0, 1}
        if query != "q":
            assert (results[1]["index"], results[1]["score"]) == (0, 0.0)
