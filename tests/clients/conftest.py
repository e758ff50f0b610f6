"""What the clients' tests share: the function's address, its plain answers, and a guard on the network."""

from __future__ import annotations

import json
import os
import socket
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

URL, KEY = os.environ["FUNCTION_URL"], os.environ["FUNCTION_KEY"]
QUERY = "how is yellow fever transmitted"
PASSAGES = [
    "The treaty was signed in 1648.",
    "Yellow fever is transmitted by mosquitoes.",
    "A fever is a body temperature above the normal range.",
]
BEST = 1

Ask = Callable[..., Any]
_outside: list[object] = []
_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo


def _guarded_connect(self: socket.socket, address: Any) -> Any:
    if self.family in {socket.AF_INET, socket.AF_INET6} and address[0] not in {"127.0.0.1", "::1"}:
        _outside.append(address)
        raise OSError("the clients' tests reach nothing but the function")
    return _connect(self, address)


def _guarded_getaddrinfo(host: Any, *rest: Any, **options: Any) -> Any:
    if host not in {"127.0.0.1", b"127.0.0.1", "localhost", None}:
        _outside.append(host)
        raise socket.gaierror("the clients' tests reach nothing but the function")
    return _getaddrinfo(host, *rest, **options)


# Before any client is imported: some report home from threads of their own.
socket.socket.connect = _guarded_connect  # type: ignore[method-assign]
socket.getaddrinfo = _guarded_getaddrinfo


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _outside:
        print(f"\nreached for {_outside}")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def ask() -> Ask:
    """The function's answer without any client in between."""

    def ask(path: str, body: Any) -> Any:
        headers = {"content-type": "application/json", "authorization": f"Bearer {KEY}"}
        request = urllib.request.Request(URL + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request) as response:
            return json.load(response)

    return ask


@pytest.fixture(scope="session")
def vectors(ask: Ask) -> Callable[[list[str], str], list[list[float]]]:
    """Vectors of texts of an input type, embedded together."""

    def vectors(texts: list[str], input_type: str) -> list[list[float]]:
        answer = ask("/v1/embeddings", {"input": texts, "input_type": input_type})
        return [entry["embedding"] for entry in answer["data"]]

    return vectors


@pytest.fixture(scope="session")
def scores(ask: Ask) -> list[float]:
    """Scores of the passages, in their order."""
    found = ask("/v1/rerank", {"query": QUERY, "documents": PASSAGES})["results"]
    return [result["relevance_score"] for result in sorted(found, key=lambda result: result["index"])]


@pytest.fixture(autouse=True)
def _nothing_outside() -> Iterator[None]:
    before = len(_outside)
    yield
    assert _outside[before:] == []
