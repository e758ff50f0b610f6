"""Logits of a tiny real cross-encoder."""

from __future__ import annotations

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.models.tokenizer.templates import Template
from lambda_app.start import start
from tests.support.tiny_function import call, environ


def test_a_pair_without_tokens_is_refused_by_its_place(tiny_bundle: Bundle) -> None:
    function = start(environ(tiny_bundle), PhaseClock())
    tokenizer = function._service.registry.reranker._tokenizer
    tokenizer._pair = Template(((), (), ()), ((), (), ()), (0, 0))
    tokenizer._backend = lambda texts, limit, tick=None: [[5] * (text != "\u200b") for text in texts]
    ask = {"action": "rerank", "query": "\u200b", "documents": ["a", "\u200b"]}
    error = call(function, ask)["error"]
    assert (error["code"], error["param"]) == ("invalid_text", "documents[1]")
    assert len(call(function, {**ask, "query": "q"})["results"]) == 2
