"""docs/CONNECT.md: requests as the engines' sources send them, answers read as those read them.

No engine runs here. ml-commons: MLPostProcessFunction, CohereRerankPostProcessFunction and their kin;
Elasticsearch: services/custom; Milvus: internal/util/function/models/tei; LanceDB: embeddings/openai.py.
"""

from __future__ import annotations

import io
import json
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.support.fakes import DIMENSIONS, Context, fake_dispatcher, http_v2
from tests.support.pages import snippets

PAGE = "docs/CONNECT.md"
DISPATCHER: Any = fake_dispatcher({"LOG_LEVEL": "ERROR"})
# What breaks a template that is filled in carelessly.
TEXTS = ["a", 'with "quotes" and \\', "two\nlines", "é ${parameters.input}"]


def blocks(word: str) -> list[dict[str, Any]]:
    """The JSON objects of the page that have a field."""
    found = [json.loads(snippet.text) for snippet in snippets(PAGE, "json")]
    return [block for block in found if word in block]


def program(word: str) -> str:
    (text,) = [snippet.text for snippet in snippets(PAGE, "python") if word in snippet.text]
    return text


def vectors(texts: list[str], input_type: str) -> Any:
    event = {"action": "embed", "texts": texts, "input_type": input_type}
    return DISPATCHER(event, Context())["embeddings"]


def scores(query: str, documents: list[str]) -> list[float]:
    """The scores in the order of the documents."""
    answer = DISPATCHER({"action": "rerank", "query": query, "documents": documents}, Context())
    return [each["score"] for each in sorted(answer["results"], key=lambda each: int(each["index"]))]


def post(url: str, body: str, **headers: str) -> Any:
    """What an HTTP API or a Function URL answers, and Lambda's Invoke API."""
    path = "/" + url.split("/", 3)[3]
    if path.startswith("/2015-03-31/functions/"):
        return json.loads(json.dumps(DISPATCHER(json.loads(body), Context())))
    answer = DISPATCHER(http_v2(path, body, headers=headers), Context())
    assert answer["statusCode"] == 200, answer["body"]
    return json.loads(answer["body"])


def extract(value: Any, path: str) -> Any:
    """Follows a JSON path of names and [*]."""
    for name in path.removeprefix("$.").split("."):
        plain, star, _ = name.partition("[*]")
        value = [each[plain] for each in value] if isinstance(value, list) else value[plain]
        assert not star or isinstance(value, list)
    return value


# OpenSearch

# MLPreProcessFunction and MLPostProcessFunction of ml-commons: parameters, and the path of what is read.
PARAMETERS = {"openai.embedding": "input", "cohere.embedding": "texts"}
PATHS = {
    "openai.embedding": "$.data[*].embedding",
    "cohere.embedding": "$.embeddings",
    "cohere.rerank": "$.results",
}


def filled(template: str, parameters: dict[str, Any]) -> str:
    """As ml-commons fills a body: strings escaped and without quotes, all else as JSON."""

    def value(match: re.Match[str]) -> str:
        found = parameters[match[1]]
        text = json.dumps(found, ensure_ascii=False)
        return text[1:-1] if isinstance(found, str) else text

    return re.sub(r"\$\{parameters\.(\w+)\}", value, template)


@pytest.mark.parametrize("connector", blocks("actions"), ids=lambda block: block["actions"][0]["url"])
def test_opensearch_reads_what_its_connector_asks_for(connector: dict[str, Any]) -> None:
    (action,) = connector["actions"]
    assert (connector["protocol"], connector["parameters"]["service_name"]) == ("aws_sigv4", "lambda")
    before = action["pre_process_function"].removeprefix("connector.pre_process.")
    after = action["post_process_function"].removeprefix("connector.post_process.")
    if after.endswith(".embedding"):
        body = filled(action["request_body"], {PARAMETERS[before]: TEXTS})
        found = extract(post(action["url"], body, **action["headers"]), PATHS[after])
        assert found == vectors(TEXTS, "passage")
        return
    parameters = {"query": 'a "b"', "documents": TEXTS, "top_n": len(TEXTS)}
    body = filled(action["request_body"], parameters)
    results = extract(post(action["url"], body, **action["headers"]), PATHS[after])
    # An array of as many as there are results, by index; a score that is no Double cannot be cast.
    placed: list[float | None] = [None] * len(results)
    for result in results:
        assert type(result["relevance_score"]) is float
        placed[result["index"]] = result["relevance_score"]
    assert placed == scores('a "b"', TEXTS)


def test_opensearch_trusts_the_connectors_endpoints() -> None:
    (settings,) = blocks("persistent")
    (patterns,) = settings["persistent"].values()
    connectors = blocks("actions")
    assert len(connectors) == 4
    for connector in connectors:
        url = connector["actions"][0]["url"]
        assert sum(re.fullmatch(pattern, url) is not None for pattern in patterns) == 1
    for foreign in (
        "https://evil.example/lambda-url.eu-west-1.on.aws/",
        "http://lambda.eu-west-1.amazonaws.com/",
    ):
        assert not any(re.fullmatch(pattern, foreign) for pattern in patterns)


# Elasticsearch


def elastic(settings: dict[str, Any], **values: Any) -> Any:
    """Sends what CustomRequest makes: placeholders are JSON in the request, and strings in headers."""
    body = re.sub(r"\$\{(\w+)\}", lambda match: json.dumps(values[match[1]]), settings["request"])
    headers = {
        name.lower(): re.sub(r"\$\{(\w+)\}", lambda match: settings["secret_parameters"][match[1]], value)
        for name, value in settings["headers"].items()
    }
    assert headers["authorization"] == "Bearer KEY"
    return post(settings["url"], body, **headers)


@pytest.mark.parametrize(
    ("internal", "input_type"), [("ingest", "passage"), ("search", "query"), (None, "passage")]
)
def test_elasticsearch_reads_vectors(internal: str | None, input_type: str) -> None:
    settings = blocks("service")[0]["service_settings"]
    words = settings["input_type"]
    word = words["translation"].get(internal, words["default"])
    answer = elastic(settings, input=TEXTS, input_type=word)
    path = settings["response"]["json_parser"]["text_embeddings"]
    assert extract(answer, path) == vectors(TEXTS, input_type)


def test_elasticsearch_reads_scores() -> None:
    settings = blocks("service")[1]["service_settings"]
    answer = elastic(settings, query='a "b"', input=TEXTS)
    parser = settings["response"]["json_parser"]
    found = dict(
        zip(
            extract(answer, parser["reranked_index"]),
            extract(answer, parser["relevance_score"]),
            strict=True,
        )
    )
    assert [found[index] for index in range(len(TEXTS))] == scores('a "b"', TEXTS)


# Milvus


@pytest.fixture
def milvus(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters of the function on the page."""
    module = ModuleType("pymilvus")
    module.Function = SimpleNamespace  # type: ignore[attr-defined]
    module.FunctionType = SimpleNamespace(TEXTEMBEDDING=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pymilvus", module)
    names: dict[str, Any] = {}
    exec(compile(program("pymilvus"), PAGE, "exec"), names)
    found: dict[str, Any] = names["embed"].params
    return found


@pytest.mark.parametrize(
    ("prompt", "input_type"), [("ingestion_prompt", "passage"), ("search_prompt", "query")]
)
def test_milvus_reads_vectors(milvus: dict[str, Any], prompt: str, input_type: str) -> None:
    prompts = DISPATCHER._service.registry.embedder.model.prompts
    assert milvus[prompt] == prompts[input_type]
    texts = [milvus[prompt] + text for text in TEXTS]
    assert len(texts) <= int(milvus["max_client_batch_size"])
    # Go leaves a false out; the path of the endpoint is replaced.
    body = json.dumps({"inputs": texts, "truncate": True})
    answer = post(f"{milvus['endpoint']}/embed", body, authorization="Bearer KEY")
    assert len(answer) == len(texts)
    assert {len(vector) for vector in answer} == {DIMENSIONS}
    assert answer == vectors(texts, "none")


def test_milvus_reads_scores() -> None:
    body = json.dumps({"query": "a", "texts": TEXTS, "truncate": True, "truncation_direction": "Right"})
    answer = post("https://abc123.execute-api.eu-west-1.amazonaws.com/rerank", body)
    assert [each["score"] for each in sorted(answer, key=lambda each: int(each["index"]))] == scores(
        "a", TEXTS
    )


# Programs


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What pgvector's program defines, with the function behind boto3."""

    def invoke(*, FunctionName: str, Payload: str) -> dict[str, Any]:  # noqa: N803
        return {"Payload": io.BytesIO(json.dumps(DISPATCHER(json.loads(Payload), Context())).encode())}

    boto3 = ModuleType("boto3")
    boto3.client = lambda service: SimpleNamespace(invoke=invoke)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", boto3)
    monkeypatch.setitem(sys.modules, "psycopg", ModuleType("psycopg"))
    found: dict[str, Any] = {"__name__": "program"}
    exec(compile(program("psycopg"), PAGE, "exec"), found)
    return found


def test_pgvector_reads_vectors(names: dict[str, Any]) -> None:
    stored: list[Any] = []
    cursor = SimpleNamespace(executemany=lambda sql, values: stored.extend(values))
    names["store"](SimpleNamespace(cursor=lambda: cursor), list(enumerate(TEXTS)))
    assert [row[:2] for row in stored] == list(enumerate(TEXTS))
    for (_, _, text), vector in zip(stored, vectors(TEXTS, "passage"), strict=True):
        # vector_in: brackets, and numbers between commas.
        assert re.fullmatch(r"\[[-0-9.e, ]+\]", text)
        assert [float(number) for number in text[1:-1].split(",")] == vector
    with pytest.raises(RuntimeError, match="invalid_text"):
        names["embed"]([""], "query")


def test_qdrant_gets_vectors(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    qdrant = ModuleType("qdrant_client")
    qdrant.QdrantClient = object  # type: ignore[attr-defined]
    qdrant.models = SimpleNamespace(PointStruct=SimpleNamespace)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "qdrant_client", qdrant)
    exec(compile(program("qdrant_client"), PAGE, "exec"), names)
    stored: dict[str, Any] = {}
    names["store"](SimpleNamespace(upsert=stored.__setitem__), list(enumerate(TEXTS)))
    assert [point.vector for point in stored["articles"]] == vectors(TEXTS, "passage")
    assert [point.payload["body"] for point in stored["articles"]] == TEXTS


def test_lancedb_reads_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    created: dict[str, Any] = {}
    registry = SimpleNamespace(
        get=lambda name: SimpleNamespace(create=lambda **fields: created.update(fields))
    )
    module = ModuleType("lancedb.embeddings")
    module.get_registry = lambda: registry  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lancedb", ModuleType("lancedb"))
    monkeypatch.setitem(sys.modules, "lancedb.embeddings", module)
    exec(compile(program("lancedb"), PAGE, "exec"), {})
    # The names whose number of dimensions may be stated.
    assert created["name"] in {"text-embedding-3-small", "text-embedding-3-large"}
    body = {"input": TEXTS, "model": created["name"], "dimensions": DIMENSIONS, "encoding_format": "base64"}
    answer = post(f"{created['base_url']}/embeddings", json.dumps(body))
    assert len(answer["data"]) == len(TEXTS)
    body["encoding_format"] = "float"
    answer = post(f"{created['base_url']}/embeddings", json.dumps(body))
    assert extract(answer, "$.data[*].embedding") == vectors(TEXTS, "passage")


# Aurora


def test_aurora_reads_a_vector() -> None:
    (sql,) = [snippet.text for snippet in snippets(PAGE, "sql") if "aws_lambda.invoke" in snippet.text]
    (fields,) = re.findall(r"json_build_object\((.*)\)\)\n", sql)
    # json_build_object takes names and values by turns.
    parts = [part.strip() for part in re.split(r", (?![^(]*\))", fields)]
    assert [part.strip("'") for part in parts[::2]] == ["action", "texts", "input_type"]
    assert parts[1::2] == ["'embed'", "json_build_array(body)", "input_type"]
    payload = DISPATCHER({"action": "embed", "texts": [TEXTS[1]], "input_type": "query"}, Context())
    assert json.loads(json.dumps(payload["embeddings"][0])) == vectors([TEXTS[1]], "query")[0]
    assert "embeddings" not in DISPATCHER({"action": "embed", "texts": [""]}, Context())
