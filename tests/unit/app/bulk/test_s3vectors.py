"""Vectors that go to S3 Vectors: batches that fit, retries, and items that it does not take."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from lambda_app.bulk import aws, s3vectors
from lambda_app.bulk.s3vectors import VectorIndex, VectorItem, batches
from lambda_app.errors import FieldError, StorageError, StorageRefusedError
from scripts.dev.local_s3 import ENVIRONMENT
from tests.support.bulk_storage import Storage

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def item(key: str, **metadata: Any) -> VectorItem:
    return VectorItem(key, [0.25, 0.5, 1.0], metadata)


def test_vectors_are_there_under_their_ids_and_a_second_time_overwrites(store: Storage) -> None:
    index = VectorIndex(store.index("texts", 3))
    assert index.put([item("a", title="A", year=1999, tags=["x"], none=None, nested={"b": 1})]) == []
    assert index.put([VectorItem("a", [1.0, 0.0, 0.0], {}), item("b")]) == []
    found = store.indexed("texts")
    assert found["a"]["data"] == {"float32": [1.0, 0.0, 0.0]}
    assert found["b"]["data"] == {"float32": [0.25, 0.5, 1.0]}
    assert index.put([item("a", title="A", year=1999, tags=["x"], none=None, nested={"b": 1})]) == []
    assert store.indexed("texts")["a"]["metadata"] == {
        "title": "A",
        "year": 1999,
        "tags": ["x"],
        "nested": '{"b": 1}',
    }


def test_a_request_has_at_most_500_vectors_and_20_mib(monkeypatch: pytest.MonkeyPatch) -> None:
    entries: list[tuple[int, dict[str, Any]]] = [(index, {"key": str(index)}) for index in range(1_001)]
    assert [len(batch) for batch in batches(entries)] == [500, 500, 1]
    large: list[tuple[int, dict[str, Any]]] = [(index, {"key": "k" * 6_000_000}) for index in range(7)]
    sizes = [(len(batch), len(json.dumps(batch))) for batch in batches(large)]
    assert [count for count, _ in sizes] == [3, 3, 1]
    assert all(size <= 20 * 1024 * 1024 for _, size in sizes)
    monkeypatch.setattr(s3vectors, "MAX_BYTES", 100)
    # One that is too large by itself is the service's to refuse.
    assert [len(batch) for batch in batches(large[:2])] == [1, 1]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (item(""), "invalid_id"),
        (item("é" * 513), "invalid_id"),
        (item("b", text="x" * 41_000), "metadata_too_large"),
        (item("b", **{f"field{number}": number for number in range(51)}), "metadata_too_large"),
    ],
)
def test_what_the_index_cannot_take_does_not_spoil_the_others(
    store: Storage, bad: VectorItem, code: str
) -> None:
    index = VectorIndex(store.index("texts", 3))
    refused = index.put([item("a"), bad, item("c")])
    assert [(each.place, each.code) for each in refused] == [(1, code)]
    assert set(store.indexed("texts")) == {"a", "c"}


class Service:
    """Refuses requests with a certain key, and is throttled a number of times."""

    class exceptions:  # noqa: N801 (the client's own name)
        class ValidationException(Exception):  # noqa: N818
            pass

    def __init__(self, bad: str) -> None:
        self.bad = bad
        self.requests: list[list[str]] = []

    def put_vectors(self, **request: Any) -> None:
        keys = [vector["key"] for vector in request["vectors"]]
        self.requests.append(keys)
        if self.bad in keys:
            raise self.exceptions.ValidationException


def test_the_one_that_a_request_is_refused_for_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service("7")
    monkeypatch.setattr(s3vectors, "client", lambda name: service)
    refused = VectorIndex("s3vectors://bucket/index").put([item(str(number)) for number in range(20)])
    assert [(each.place, each.code) for each in refused] == [(7, "vector_refused")]
    written = {key for keys in service.requests if "7" not in keys for key in keys}
    assert written == {str(number) for number in range(20)} - {"7"}


class Throttling(BaseHTTPRequestHandler):
    """Answers two requests that there are too many, and the third as S3 Vectors does."""

    requests = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        type(self).requests += 1
        throttled = self.requests < 3
        self.send_response(429 if throttled else 200)
        if throttled:
            self.send_header("x-amzn-errortype", "TooManyRequestsException")
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_throttled_requests_are_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    with HTTPServer(("127.0.0.1", 0), Throttling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        aws.forget_clients()
        assert VectorIndex("s3vectors://bucket/index").put([item("a")]) == []
        server.shutdown()
    aws.forget_clients()
    assert Throttling.requests == 3


def test_an_index_that_is_not_there(store: Storage) -> None:
    with pytest.raises(StorageRefusedError) as caught:
        VectorIndex("s3vectors://missing/index").put([item("a")])
    assert caught.value.code == "object_not_found"


def test_a_service_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr(aws, "ATTEMPTS", 1)
    aws.forget_clients()
    with pytest.raises(StorageError) as caught:
        VectorIndex("s3vectors://bucket/index").put([item("a")])
    assert caught.value.code == "storage_failed"
    aws.forget_clients()


@pytest.mark.parametrize("url", ["s3://bucket/index", "s3vectors://", "bucket/index", ""])
def test_an_index_has_a_name(url: str) -> None:
    with pytest.raises(FieldError):
        VectorIndex(url)
