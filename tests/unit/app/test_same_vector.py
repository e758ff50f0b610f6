"""One text has one vector, and one pair one score: through every API, and whatever they are sent with."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from lambda_app.bundle import Bundle
from lambda_app.coldstart.clock import PhaseClock
from lambda_app.dispatch import Dispatcher
from lambda_app.start import start
from tests.support.api_calls import ask
from tests.support.bulk_jobs import Runner, jsonl, vector
from tests.support.tiny_function import call, environ

if TYPE_CHECKING:
    from tests.support.bulk_storage import Storage

# What the order of FP32 sums leaves; the JSON of a float32 has as many digits as it takes to read it back.
TOLERANCE = 1e-6
TEXT = "The night train to the coast leaves at ten."
# One token and more than the model takes, capitals, code, emoji and other scripts.
OTHERS = [
    "a",
    "train " * 600,
    "STOP THE TRAIN NOW",
    "for (int i = 0; i < n; ++i) { x[i] *= 2; }",
    "🚂🚂🚂 🙂",
    "поезд 列車 قطار",
    "(" * 50,
]
# What the text is sent with, and where it stands.
COMPANY = {
    "alone": ([TEXT], 0),
    "first": ([TEXT, *OTHERS], 0),
    "between": ([*OTHERS[:3], TEXT, *OTHERS[3:]], 3),
    "last": ([*OTHERS, TEXT], len(OTHERS)),
    "beside the longest": ([OTHERS[1], TEXT], 1),
    "beside the shortest": ([TEXT, *OTHERS[:1] * 20], 0),
}

Embed = Callable[[Dispatcher, Sequence[str]], Sequence[Any]]
Score = Callable[[Dispatcher, str, Sequence[str]], Sequence[float]]


def direct(texts: Sequence[str]) -> dict[str, Any]:
    return {"action": "embed", "texts": list(texts), "input_type": "passage"}


def ranking(query: str, documents: Sequence[str]) -> dict[str, Any]:
    return {"action": "rerank", "query": query, "documents": list(documents)}


def embed_list(function: Dispatcher, texts: Sequence[str]) -> Sequence[Any]:
    answers = call(function, [direct([text]) for text in texts])
    return [answer["embeddings"][0] for answer in answers]


def embed_items(function: Dispatcher, texts: Sequence[str]) -> Sequence[Any]:
    shared = {"action": "embed", "input_type": "passage"}
    return call(function, {"BatchInput": shared, "Items": list(texts)})["embeddings"]  # type: ignore[no-any-return]


def embed_redshift(function: Dispatcher, texts: Sequence[str]) -> Sequence[Any]:
    rows = [[text] for text in texts]
    event = {"external_function": "embed_passage", "num_records": len(rows), "arguments": rows}
    return [json.loads(row) for row in json.loads(call(function, event))["results"]]


def embed_snowflake(function: Dispatcher, texts: Sequence[str]) -> Sequence[Any]:
    rows = [[place, text, "passage"] for place, text in enumerate(texts)]
    return [row[1] for row in ask("/snowflake/embed", {"data": rows}, dispatcher=function)["data"]]


def posted(path: str, read: Callable[[Any], Any], field: str = "input", **fields: Any) -> Embed:
    def embed(function: Dispatcher, texts: Sequence[str]) -> Sequence[Any]:
        found: Sequence[Any] = read(ask(path, {field: list(texts), **fields}, dispatcher=function))
        return found

    return embed


def data(answer: Any) -> list[Any]:
    return [row["embedding"] for row in sorted(answer["data"], key=lambda row: row["index"])]


EMBED: dict[str, Embed] = {
    "direct": lambda function, texts: call(function, direct(texts))["embeddings"],
    "direct, base64": lambda function, texts: call(function, direct(texts) | {"encoding": "base64"})[
        "embeddings"
    ],
    "a list of events": embed_list,
    "items of a batch": embed_items,
    "OpenAI": posted("/v1/embeddings", data, model="m"),
    "OpenAI, base64": posted("/v1/embeddings", data, encoding_format="base64"),
    "Azure": posted("/openai/deployments/m/embeddings", data),
    "Voyage": posted("/v1/embeddings", data, input_type="document", output_dtype="float"),
    "Jina": posted("/v1/embeddings", data, task="retrieval.passage", embedding_type="float"),
    "Cohere 1": posted("/v1/embed", lambda a: a["embeddings"], "texts", input_type="search_document"),
    "Cohere 2": posted(
        "/v2/embed",
        lambda answer: answer["embeddings"]["float"],
        "texts",
        input_type="search_document",
        embedding_types=["float"],
    ),
    "TEI": posted("/embed", lambda answer: answer, "inputs", prompt_name="passage"),
    "TEI, root": posted("/", lambda answer: answer, "inputs", prompt_name="passage"),
    "Redshift": embed_redshift,
    "Snowflake": embed_snowflake,
}


def score_redshift(function: Dispatcher, query: str, documents: Sequence[str]) -> Sequence[float]:
    rows = [[query, document] for document in documents]
    event = {"external_function": "rerank_score", "num_records": len(rows), "arguments": rows}
    found: list[float] = json.loads(call(function, event))["results"]
    return found


def score_snowflake(function: Dispatcher, query: str, documents: Sequence[str]) -> Sequence[float]:
    rows = [[place, query, document] for place, document in enumerate(documents)]
    return [row[1] for row in ask("/snowflake/rerank", {"data": rows}, dispatcher=function)["data"]]


def score_items(function: Dispatcher, query: str, documents: Sequence[str]) -> Sequence[float]:
    shared = {"action": "rerank", "query": query}
    return by_index(call(function, {"BatchInput": shared, "Items": list(documents)})["results"], "score")


def by_index(results: Sequence[Any], field: str) -> list[float]:
    return [row[field] for row in sorted(results, key=lambda row: row["index"])]


def ranked(path: str, rows: str | None, field: str = "documents") -> Score:
    name = "score" if rows is None else "relevance_score"

    def score(function: Dispatcher, query: str, documents: Sequence[str]) -> Sequence[float]:
        answer = ask(path, {"query": query, field: list(documents)}, dispatcher=function)
        return by_index(answer if rows is None else answer[rows], name)

    return score


SCORE: dict[str, Score] = {
    "direct": lambda function, query, documents: by_index(
        call(function, ranking(query, documents))["results"], "score"
    ),
    "items of a batch": score_items,
    "Cohere 1": ranked("/v1/rerank", "results"),
    "Voyage": ranked("/v1/rerank", "data"),
    "Cohere 2": ranked("/v2/rerank", "results"),
    "TEI": ranked("/rerank", None, "texts"),
    "Redshift": score_redshift,
    "Snowflake": score_snowflake,
}


def check_vector(found: Any, expected: Any) -> None:
    # Not because everything is the same vector.
    np.testing.assert_allclose(vector(found), vector(expected), rtol=0, atol=TOLERANCE)


@pytest.fixture(scope="module")
def expected(function: Dispatcher) -> Any:
    """The text's vector, from an event of its own; other texts have others."""
    first, *others = call(function, direct([TEXT, *OTHERS]))["embeddings"]
    assert min(np.abs(vector(first) - vector(other)).max() for other in others) > 1e-3
    return call(function, direct([TEXT]))["embeddings"][0]


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("api", EMBED)
def test_one_vector(function: Dispatcher, api: str, company: str, expected: Any) -> None:
    texts, place = COMPANY[company]
    vectors = EMBED[api](function, texts)
    assert len(vectors) == len(texts)
    check_vector(vectors[place], expected)


def test_prompts_do_not_change_it_by_company(function: Dispatcher) -> None:
    for kind in ("query", "none"):
        alone = call(function, direct([TEXT]) | {"input_type": kind})["embeddings"][0]
        beside = call(function, direct([*OTHERS, TEXT]) | {"input_type": kind})["embeddings"][-1]
        check_vector(beside, alone)


@pytest.mark.parametrize("company", COMPANY)
@pytest.mark.parametrize("api", SCORE)
def test_one_score(function: Dispatcher, api: str, company: str) -> None:
    query = "when does the train to the coast leave"
    documents, place = COMPANY[company]
    (alone,) = by_index(call(function, ranking(query, [TEXT]))["results"], "score")
    scores = SCORE[api](function, query, documents)
    assert len(scores) == len(documents)
    assert scores[place] == pytest.approx(alone, rel=0, abs=TOLERANCE)
    assert len(documents) == 1 or np.ptp(scores) > 1e-4


def test_a_long_query_has_the_same_scores_in_any_company(function: Dispatcher) -> None:
    query = OTHERS[1]
    (alone,) = by_index(call(function, ranking(query, [TEXT]))["results"], "score")
    beside = by_index(call(function, ranking(query, [*OTHERS, TEXT]))["results"], "score")
    assert beside[-1] == pytest.approx(alone, rel=0, abs=TOLERANCE)


def queued(body: str, number: int) -> dict[str, Any]:
    source = "arn:aws:sqs:eu-west-1:012345678912:texts"
    return {"messageId": str(number), "body": body, "eventSource": "aws:sqs", "eventSourceARN": source}


def streamed(body: str, number: int) -> dict[str, Any]:
    record = {"sequenceNumber": str(number), "data": base64.b64encode(body.encode()).decode("ascii")}
    return {"kinesis": record, "eventSource": "aws:kinesis", "eventID": f"shardId-0:{number}"}


@pytest.mark.parametrize("record", [queued, streamed])
def test_one_vector_of_a_queue(
    tiny_bundle: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    record: Callable[[str, int], dict[str, Any]],
    expected: Any,
) -> None:
    results: list[dict[str, Any]] = []
    module = ModuleType("a_users_module")
    module.store = results.extend  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "a_users_module", module)
    function = start(environ(tiny_bundle, RESULT_SINK="a_users_module:store"), PhaseClock())
    records = [
        record(json.dumps(direct(texts)), number) for number, (texts, _) in enumerate(COMPANY.values())
    ]
    assert call(function, {"Records": records}) == {"batchItemFailures": []}
    for result, (_, place) in zip(results, COMPANY.values(), strict=True):
        check_vector(result["answer"]["embeddings"][place], expected)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_vector_of_a_job(function: Dispatcher, store: Storage, expected: Any) -> None:
    rows = [
        {"id": f"{name}{place}", "text": text}
        for name, (texts, _) in COMPANY.items()
        for place, text in enumerate(texts)
    ]
    store.put("in/a.jsonl", jsonl(rows))
    # Parts end in the middle of a company.
    Runner(function, store).run(part_bytes=2048, input_type="passage")
    found = {line["id"]: line["vector"] for line in store.all_lines("out/parts/")}
    assert len(found) == len(rows)
    for name, (_, place) in COMPANY.items():
        check_vector(found[f"{name}{place}"], expected)
