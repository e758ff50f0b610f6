"""The events that contenders get, with texts of known lengths, the same in every run."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from scripts.paths import ROOT

# Frequent English words, each one token for the embedder, and about one for the reranker.
WORDS = (
    "the of and in to was he is as for on with that it his by at from her she you had an were but be this "
    "are not my they one which or have him me first all also their has up who out been when after there "
    "into new two its time would no what about said we over then other so more can if like back them only "
    "some could where just during before do made school through than now years most world may between "
    "down well three year while will later city under around did such being used state people part know "
    "against your many second university both national these don known off way until re how even get head "
    "didn team american because born united film since still long work south us became any high again day "
    "family see right man eyes house season war states including took life north same each called name "
    "much place however go four group another found won area here going several end home work music left "
    "number water company public river history system record"
).split()
FIRST_TEXT = "How long does a container keep its memory between two requests?"
FIRST_DOCUMENTS = (
    "A container that has answered a request is frozen until the next one comes, and keeps what it holds.",
    "Bread rises because yeast turns sugar into gas.",
    "Rivers carry water from the mountains to the sea.",
)
# Shares of queries, short and long passages, and documents that are cut at 512 tokens, with their words.
MIX = ((0.3, 6, 20), (0.4, 40, 160), (0.2, 180, 360), (0.1, 400, 520))

# Of the embedder that full-size contenders have.
DIMENSIONS = 768

Event = Mapping[str, Any]


def text(rng: random.Random, words: int) -> str:
    """Returns that many words, common ones more often."""
    return " ".join(WORDS[int(len(WORDS) * rng.random() ** 2)] for _ in range(words))


def text_of_seed(words: int, seed: int) -> str:
    """Returns the same words for the same seed."""
    return text(random.Random(seed), words)


def mixed_texts(count: int, seed: int = 3) -> list[str]:
    """Returns texts of mixed lengths in random order, as a corpus with its queries has them."""
    rng = random.Random(seed)
    texts: list[str] = []
    for share, low, high in MIX:
        texts += [text(rng, rng.randint(low, high)) for _ in range(round(count * share))]
    rng.shuffle(texts)
    return texts


def of_tokens(tokens: int, seed: int = 5) -> str:
    """Returns a text of that many tokens for the embedder: words, the prompt's two, the special two."""
    return text_of_seed(tokens - 4, seed)


def rerank_documents(count: int = 25, seed: int = 7) -> list[str]:
    """Returns passages of 60 to 140 words."""
    rng = random.Random(seed)
    return [text(rng, rng.randint(60, 140)) for _ in range(count)]


@cache
def _gateway_event() -> dict[str, Any]:
    path = ROOT / "events" / "http-v2-embed.json"
    event: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return event


def http_event(path: str, body: Mapping[str, Any]) -> Event:
    """Returns what API Gateway's HTTP API sends for a POST (payload version 2.0)."""
    content = json.dumps(body)
    event = dict(_gateway_event())
    request = dict(event["requestContext"])
    request |= {"http": {**request["http"], "path": path}, "routeKey": f"POST {path}"}
    headers = {**event["headers"], "content-length": str(len(content))}
    return event | {
        "rawPath": path, "routeKey": f"POST {path}", "requestContext": request, "headers": headers,
        "body": content,
    }  # fmt: skip


def embed_event(texts: Sequence[str], *, batch_size: int | None = None) -> Event:
    """Returns an embedding request over HTTP; ``batch_size`` is for contenders that take one."""
    extra = {} if batch_size is None else {"batch_size": batch_size}
    return http_event("/v1/embeddings", {"input": list(texts), "input_type": "passage", **extra})


def rerank_event(query: str, documents: Sequence[str]) -> Event:
    """Returns a rerank request over HTTP."""
    return http_event("/v1/rerank", {"query": query, "documents": list(documents)})


def direct_embed_event(texts: Sequence[str]) -> Event:
    """Returns an embedding request of a pipeline, without a web layer."""
    return {"action": "embed", "texts": list(texts), "input_type": "passage"}


class WrongResponseError(RuntimeError):
    """A contender's response is not what the event asks for: its time would mean nothing."""


def check_response(event: Event, response: Any, *, dimensions: int | None = DIMENSIONS) -> None:
    """Checks that every text has its vector, and every document its score.

    Args:
        event: what was asked.
        response: what came.
        dimensions: of the vectors; None accepts any number that is the same for all.

    Raises:
        WrongResponseError: with the beginning of what came.
    """
    body = json.loads(event["body"]) if "body" in event else event
    items: list[str] = body.get("input") or body.get("texts") or body["documents"]
    wanted = len(items)
    try:
        content = json.loads(response["body"]) if "body" in response else response
        if "embeddings" in content:
            found = [len(vector) for vector in content["embeddings"]]
        elif "results" in content:
            found = [dimensions or 1 for result in content["results"] if 0 <= result["index"] < wanted]
        else:
            found = [len(entry["embedding"]) for entry in content["data"]]
    except (KeyError, TypeError, ValueError):
        found = []
    expected = dimensions or (found[0] if found else 0)
    if not expected or found != [expected] * wanted:
        raise WrongResponseError(f"{json.dumps(response)[:500]}")
