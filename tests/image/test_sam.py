"""The image's three callers, for real: `sam local invoke`, `start-api`, and boto3 through `start-lambda`.

What they answer is compared with what the same code answers here, in this process, over the image's own
bundle. `make test-image`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from lambda_app.coldstart.clock import PhaseClock
from lambda_app.errors import UnservedEventError
from lambda_app.start import start
from scripts.paths import ROOT
from tests.support.fakes import Context
from tests.support.function_checks import SERVED_EVENTS
from tests.support.sam_cli import AWS, Sam, request

pytestmark = pytest.mark.image

KEY = "a-key-of-the-tests"
KEYS = {"AuthMode": "API_KEYS", "ApiKeysSha256": hashlib.sha256(KEY.encode()).hexdigest()}
TEXTS = ["Yellow fever is transmitted by mosquitoes.", "The treaty was signed in 1648."]
EMBED = {"action": "embed", "texts": TEXTS, "input_type": "passage"}
RERANK = {"action": "rerank", "query": "how is yellow fever transmitted", "documents": TEXTS}
# One CPU here, as in the container, so that both add numbers up in the same order.
MEMORY = "1769"
VOLATILE = {"id", "created", "cold_start", "versions", "cpu", "cpu_features", "memory_mb", "environment"}

Function = Callable[[Any], Any]


@pytest.fixture(scope="module")
def sam(image: str) -> Sam:
    return Sam(image)


@pytest.fixture(scope="module")
def function(bundle_copy: Path) -> Function:
    """The same code over the same bundle, without a container."""
    environ = {"MODEL_DIR": str(bundle_copy), "LOG_LEVEL": "ERROR", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY}
    handler = start(environ, PhaseClock())
    return lambda event: handler(event, Context())


def assert_same(found: Any, expected: Any) -> None:
    """Equal but for the last digits of numbers, and for what differs from call to call."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected.keys() - VOLATILE:
            if name == "body" and isinstance(expected[name], str):
                assert_same(json.loads(found[name]), json.loads(expected[name]))
            elif name in {"headers", "multiValueHeaders"}:
                assert {key.lower() for key in found[name]} == {key.lower() for key in expected[name]}
            elif name == "embedding" and isinstance(expected[name], str):
                assert floats(found[name]) == pytest.approx(floats(expected[name]), abs=1e-3)
            else:
                assert_same(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for left, right in zip(found, expected, strict=True):
            assert_same(left, right)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-3)
    else:
        assert found == expected


def floats(encoded: str) -> tuple[float, ...]:
    data = base64.b64decode(encoded)
    return struct.unpack(f"<{len(data) // 4}f", data)


# The template, by the tools that will read it


def test_the_template_is_valid_and_free_of_lint(sam: Sam) -> None:
    result = sam.run("validate", "--lint")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "is a valid SAM Template" in result.stdout


# sam local invoke


@pytest.mark.parametrize("path", SERVED_EVENTS, ids=lambda path: path.stem)
def test_local_invoke_of_every_event(sam: Sam, function: Function, path: Path) -> None:
    event = json.loads(path.read_text(encoding="utf-8"))
    http = isinstance(event, dict) and ("requestContext" in event or "httpMethod" in event)
    answer = sam.invoke("HttpFunction" if http else "PipelineFunction", event)
    assert_same(answer, function(event))


HTTP_SAMPLES = [
    ("apigateway", "http-api-proxy"),
    ("apigateway", "aws-proxy"),
    ("alb", "request"),
]


@pytest.mark.parametrize("sample", HTTP_SAMPLES, ids=" ".join)
def test_local_invoke_of_samples_of_http(sam: Sam, function: Function, sample: tuple[str, str]) -> None:
    body = json.dumps({"input": TEXTS})
    event = sam.generate_event(*sample, "--body", body, "--path", "v1/embeddings", "--method", "POST")
    answer = sam.invoke("HttpFunction", event)
    assert answer["statusCode"] == 200
    assert len(json.loads(answer["body"])["data"]) == 2
    assert_same(answer, function(event))


OTHER_SAMPLES = [
    ("cloudwatch", "scheduled-event"),
    ("sqs", "receive-message"),
    ("stepfunctions", "error"),
]
# Of sources that are not served: nobody reads a response, so the function fails and Lambda keeps the event.
UNSERVED_SAMPLES = [("s3", "put"), ("sns", "notification")]


@pytest.mark.parametrize("sample", OTHER_SAMPLES, ids=" ".join)
def test_local_invoke_of_other_samples(sam: Sam, function: Function, sample: tuple[str, str]) -> None:
    event = sam.generate_event(*sample)
    assert_same(sam.invoke("PipelineFunction", event), function(event))


@pytest.mark.parametrize("sample", UNSERVED_SAMPLES, ids=" ".join)
def test_local_invoke_fails_for_events_that_are_not_served(
    sam: Sam, function: Function, sample: tuple[str, str]
) -> None:
    event = sam.generate_event(*sample)
    assert sam.invoke("PipelineFunction", event)["errorType"] == "UnservedEventError"
    with pytest.raises(UnservedEventError):
        function(event)


# sam local start-api


@pytest.fixture(scope="module")
def api(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The HTTP function behind SAM's gateway, asking for keys."""
    log = tmp_path_factory.mktemp("api") / "log"
    with log.open("wb") as stream, Sam(image, KEYS).serve("start-api", stream) as address:
        yield address


def test_start_api_embeds(api: str, function: Function) -> None:
    status, body = request(f"{api}/v1/embeddings", {"input": TEXTS}, KEY)
    assert status == 200
    expected = function(EMBED)["embeddings"]
    for entry, vector in zip(body["data"], expected, strict=True):
        assert entry["embedding"] == pytest.approx(vector, abs=1e-3)


def test_start_api_reranks(api: str, function: Function) -> None:
    status, body = request(
        f"{api}/v1/rerank", {"query": RERANK["query"], "documents": TEXTS, "top_n": 1}, KEY
    )
    assert status == 200
    (best,) = body["results"]
    expected = function(RERANK)["results"][0]
    assert best["index"] == expected["index"]
    assert best["relevance_score"] == pytest.approx(expected["score"], abs=1e-3)


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", b"{", 400, "invalid_json"),
        ("/v1/embeddings", {"input": 1}, 400, "invalid_field"),
        ("/v1/embeddings", {}, 400, "missing_field"),
        ("/v1/embeddings", {"input": ["x"] * 5000}, 413, "limit_exceeded"),
        ("/v1/rerank", {"query": "q", "documents": []}, 400, "invalid_field"),
        ("/v1/nothing", {"input": "x"}, 404, "not_found"),
    ],
)
def test_start_api_refuses_bad_input(api: str, path: str, body: Any, status: int, code: str) -> None:
    answer = request(f"{api}{path}", body, KEY)
    assert answer.status == status
    assert answer.body["error"]["code"] == code


@pytest.mark.parametrize("key", [None, "another-key"])
def test_start_api_asks_for_a_key(api: str, key: str | None) -> None:
    answer = request(f"{api}/v1/embeddings", {"input": "x"}, key)
    assert answer.status == 401
    assert "x" not in str(answer.body.get("data"))


# boto3 through sam local start-lambda


@pytest.fixture(scope="module")
def client(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The AWS SDK's own client, talking to SAM in Lambda's place."""
    log = tmp_path_factory.mktemp("lambda") / "log"
    with log.open("wb") as stream, Sam(image).serve("start-lambda", stream) as address:
        lambda_client = boto3.client(
            "lambda",
            endpoint_url=address,
            region_name=AWS["AWS_DEFAULT_REGION"],
            aws_access_key_id=AWS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=AWS["AWS_SECRET_ACCESS_KEY"],
            config=Config(read_timeout=120, retries={"total_max_attempts": 1}),
        )
        yield lambda_client
        lambda_client.close()


def invoke(client: Any, event: Any) -> Any:
    response = client.invoke(FunctionName="PipelineFunction", Payload=json.dumps(event))
    assert response["StatusCode"] == 200
    return json.load(response["Payload"])


def invoke_in_turn(client: Any, function: Function, times: int) -> None:
    embedded, ranked = function(EMBED), function(RERANK)
    for turn in range(times):
        if turn % 2:
            assert_same(invoke(client, RERANK), ranked)
        else:
            assert_same(invoke(client, EMBED), embedded)


def test_boto3_ten_times(client: Any, function: Function) -> None:
    invoke_in_turn(client, function, 10)


@pytest.mark.soak
def test_boto3_a_hundred_times(client: Any, function: Function) -> None:
    invoke_in_turn(client, function, 100)


WRONG = [{}, [], "text", 7, {"action": "fly"}, {"action": "embed"}, {"action": "embed", "texts": [""]}]


@pytest.mark.parametrize("event", WRONG, ids=json.dumps)
def test_boto3_wrong_payloads_are_errors_and_the_next_call_works(
    client: Any, function: Function, event: Any
) -> None:
    answer = invoke(client, event)
    assert answer.keys() == {"error"}
    assert answer == function(event)
    assert_same(invoke(client, EMBED), function(EMBED))


def test_boto3_what_is_not_json(client: Any, function: Function) -> None:
    with pytest.raises(ClientError, match="InvalidRequestContent"):
        client.invoke(FunctionName="PipelineFunction", Payload=b"{")
    assert_same(invoke(client, EMBED), function(EMBED))


def test_boto3_as_the_deployment_page_has_it(
    client: Any, function: Function, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "DEPLOY.md").read_text(encoding="utf-8")
    (snippet,) = [text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "boto3" in text]
    monkeypatch.setattr(boto3, "client", lambda service: client)
    names: dict[str, Any] = {}
    exec(compile(snippet, "docs/DEPLOY.md", "exec"), names)
    assert_same(names["embed"]("PipelineFunction", TEXTS), function(EMBED)["embeddings"])
    with pytest.raises(RuntimeError, match="invalid_text"):
        names["embed"]("PipelineFunction", [""])


# sam build


def test_sam_build_takes_a_prebuilt_bundle(
    docker: str, sam: Sam, bundle_copy: Path, function: Function, tmp_path: Path
) -> None:
    """The template's own Dockerfile through the legacy builder, which is what SAM has, over a copy of the
    project with the image's bundle in models/."""
    project = tmp_path / "project"
    project.mkdir()
    for name in (
        *("lambda_app", "builder", "scripts", "requirements", "build_models.py", "pyproject.toml"),
        *("LICENSE", "NOTICE", "Dockerfile.lambda", ".dockerignore", "template.yaml", "samconfig.toml"),
        *("models.toml", "models.minilm.toml"),
    ):
        subprocess.run(["cp", "-r", str(ROOT / name), str(project)], check=True)
    subprocess.run(["cp", "-r", str(bundle_copy), str(project / "models")], check=True)
    built = tmp_path / "built"
    result = sam.run("build", "--base-dir", str(project), "--build-dir", str(built), *template(project))
    assert result.returncode == 0, (result.stdout + result.stderr)[-3000:]
    try:
        arguments = ["local", "invoke", "PipelineFunction", "--event", "-", "--skip-pull-image"]
        result = sam.run(*arguments, "--template", str(built / "template.yaml"), input=json.dumps(EMBED))
        assert result.returncode == 0, result.stderr[-2000:]
        assert_same(json.loads(result.stdout.splitlines()[-1]), function(EMBED))
    finally:
        for name in ("httpfunction:latest", "pipelinefunction:latest"):
            subprocess.run([docker, "rmi", "--force", name], capture_output=True, check=False)


def template(project: Path) -> list[str]:
    return ["--template", str(project / "template.yaml")]
