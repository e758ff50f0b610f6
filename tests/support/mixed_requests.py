"""Requests of every API and event source in turn, some of them mistakes."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from builder.tokenizer.fuzz_corpus import fuzz_texts
from tests.support.fakes import http_v2
from tests.support.function_checks import GOLDEN, SECRET, SERVED_EVENTS

DISTINCT = 400


def texts_for(generator: random.Random) -> Callable[[], list[str]]:
    corpus = [text for text in fuzz_texts(500, 7) if text and "\0" not in text] + list(GOLDEN)

    def some() -> list[str]:
        return generator.sample(corpus, generator.randint(1, 8))

    return some


def mixed_requests(count: int) -> Iterator[Any]:
    """Yields ``count`` requests, the same ones each time."""
    generator = random.Random(1)
    some = texts_for(generator)
    events = [json.loads(path.read_text(encoding="utf-8")) for path in SERVED_EVENTS]
    events = [event for event in events if not (isinstance(event, dict) and event.get("action") == "info")]

    def embed(**fields: Any) -> dict[str, Any]:
        return {
            "action": "embed",
            "texts": some(),
            "input_type": generator.choice(["query", "passage"]),
            **fields,
        }

    def rerank(field: str = "documents") -> dict[str, Any]:
        texts = some()
        return {"query": texts[0], field: texts}

    def message(body: Any) -> dict[str, Any]:
        return {"messageId": "id", "eventSource": "aws:sqs", "body": json.dumps(body)}

    def http(path: str, body: Any) -> dict[str, Any]:
        return http_v2(path, json.dumps(body))

    makers: list[Callable[[], Any]] = [
        lambda: generator.choice(events),
        embed,
        lambda: embed(encoding="base64"),
        lambda: {"action": "rerank", **rerank(), "top_n": generator.randint(1, 3)},
        lambda: {"BatchInput": {"action": "embed"}, "Items": [*some(), ""]},
        lambda: [embed(id=1), {"action": "rerank", **rerank()}, {"action": "embed"}],
        lambda: {"Records": [message(embed()), message({"action": SECRET})]},
        lambda: http("/v1/embeddings", {"input": some(), "encoding_format": "base64"}),
        lambda: http("/v1/embeddings", {"input": some(), "input_type": "query"}),
        lambda: http("/v1/rerank", rerank()),
        lambda: http("/v2/rerank", rerank()),
        lambda: http(
            "/v2/embed",
            {
                "texts": some(),
                "input_type": "search_query",
                "embedding_types": ["float", "int8"],
                "model": "m",
            },
        ),
        lambda: http("/embed", {"inputs": some()}),
        lambda: http("/rerank", rerank("texts")),
        lambda: http("/similarity", {"inputs": {"source_sentence": some()[0], "sentences": some()}}),
        lambda: http("/tokenize", {"inputs": some()}),
        lambda: http_v2("/health"),
        lambda: http_v2("/v1/models"),
        lambda: http_v2("/" + SECRET),
        lambda: http("/v1/embeddings", {"input": [SECRET, None]}),
        lambda: embed(texts=[SECRET, ""]),
        lambda: SECRET,
    ]
    for make in itertools.islice(itertools.cycle(makers), count):
        yield make()


def endless_requests() -> Iterator[Any]:
    """Yields the distinct requests over and over."""
    return itertools.cycle(list(mixed_requests(DISTINCT)))
