"""Compressed bodies: gzip is decoded and bounded, anything else is refused with what to send."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import time
import tracemalloc
import zlib
from typing import Any

import pytest

from lambda_app.api.http.content_encoding import decode
from lambda_app.api.routes import POSTS
from lambda_app.errors import LimitError
from lambda_app.limits import LAMBDA_REQUEST_BYTES
from scripts.paths import ROOT
from tests.support.fakes import ERROR_BYTES, Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})
PLAIN = json.dumps({"input": ["héllo"] * 50}).encode()


def event(body: bytes, encoding: str | None = "gzip", path: str = "/v1/embeddings") -> dict[str, Any]:
    headers = {} if encoding is None else {"Content-Encoding": encoding, "content-length": str(len(body))}
    text = base64.b64encode(body).decode()
    return {**http_v2(path, text, headers=headers), "isBase64Encoded": True}


def call(given: dict[str, Any]) -> tuple[int, dict[str, str], Any]:
    answer = DISPATCHER(given, Context())
    assert answer["statusCode"] == 200 or len(answer["body"]) < ERROR_BYTES
    return answer["statusCode"], answer["headers"], json.loads(answer["body"])


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_a_gzip_body_is_decoded(encoding: str) -> None:
    status, _, answer = call(event(gzip.compress(PLAIN), encoding))
    assert (status, answer) == (200, call(event(PLAIN, None))[2])


def test_every_value_of_the_header_counts() -> None:
    rest = {
        "httpMethod": "POST",
        "path": "/v1/embeddings",
        "headers": {"content-encoding": "gzip"},
        "multiValueHeaders": {"content-encoding": ["gzip"]},
        "requestContext": {"stage": "prod", "path": "/prod/v1/embeddings"},
        "body": base64.b64encode(gzip.compress(PLAIN)).decode(),
        "isBase64Encoded": True,
    }
    assert call(rest)[0] == 200
    assert call({**rest, "multiValueHeaders": {"content-encoding": ["gzip", "br"]}})[0] == 415


@pytest.mark.parametrize("encoding", ["identity", "", "Identity"])
def test_a_body_that_is_not_encoded_stays(encoding: str) -> None:
    assert call(event(PLAIN, encoding))[0] == 200


@pytest.mark.parametrize(
    "encoding", ["br", "deflate", "zstd", "compress", "gzip, gzip", "gzip,br", "x" * 10_000]
)
def test_another_encoding_is_refused_with_what_to_send(encoding: str) -> None:
    status, headers, answer = call(event(zlib.compress(PLAIN), encoding))
    assert status == 415
    assert headers["accept-encoding"] == "gzip"
    assert answer["error"]["code"] == "unsupported_encoding"
    assert "as gzip or without one" in answer["error"]["message"]


@pytest.mark.parametrize("path", [post.path.replace("{model:path}", "m") for post in POSTS])
def test_every_route_refuses_it(path: str) -> None:
    assert call(event(PLAIN, "br", path))[0] == 415


@pytest.mark.parametrize(
    "body",
    [
        PLAIN,
        gzip.compress(PLAIN)[:-1],
        gzip.compress(PLAIN) + b"x",
        gzip.compress(PLAIN) * 2,
        zlib.compress(PLAIN),
        b"\x1f\x8b",
        gzip.compress(PLAIN)[:20] + b"\xff" * 50,
    ],
    ids=["plain", "cut off", "more", "two", "zlib", "its first bytes", "damaged"],
)
def test_what_is_not_gzip_is_refused(body: bytes) -> None:
    status, _, answer = call(event(body))
    assert (status, answer["error"]["code"]) == (400, "invalid_request")
    assert "binary media types" in answer["error"]["message"]


def test_a_small_body_that_grows_is_refused_without_the_memory() -> None:
    bomb = gzip.compress(b" " * 500_000_000, 1)
    assert len(bomb) < LAMBDA_REQUEST_BYTES
    clean = {"body": bomb, "headers": {}}
    tracemalloc.start()
    started = time.perf_counter()
    with pytest.raises(LimitError, match="once it is decoded"):
        decode(clean, {"gzip"})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * LAMBDA_REQUEST_BYTES
    assert time.perf_counter() - started < 5
    status, _, answer = call(event(bomb))
    assert (status, answer["error"]["code"]) == (413, "limit_exceeded")


def test_the_largest_body_is_decoded() -> None:
    clean = {"body": gzip.compress(b"x" * LAMBDA_REQUEST_BYTES), "headers": {}}
    decode(clean, {"gzip"})
    assert len(clean["body"]) == LAMBDA_REQUEST_BYTES


def test_the_application_sees_a_plain_body() -> None:
    clean = {
        "body": gzip.compress(b"{}"),
        "headers": {"Content-Encoding": "gzip", "Content-Length": "22", "a": "b"},
        "multiValueHeaders": {"content-encoding": ["gzip"], "a": ["b"]},
    }
    decode(clean, {"gzip"})
    assert clean == {"body": b"{}", "headers": {"a": "b"}, "multiValueHeaders": {"a": ["b"]}}


def test_gzip_without_its_header_says_which_is_missing() -> None:
    status, _, answer = call(event(gzip.compress(PLAIN), None))
    assert (status, answer["error"]["code"]) == (400, "invalid_json")
    assert "Content-Encoding: gzip" in answer["error"]["message"]
    assert "gzip" not in call(event(b"\xff\xfe", None))[2]["error"]["message"]


def test_a_request_without_a_body_needs_no_decoding() -> None:
    health = http_v2("/health", headers={"content-encoding": "br"})
    assert DISPATCHER(health, Context())["statusCode"] == 200


def test_without_the_header_nothing_is_loaded_for_it() -> None:
    code = (
        "import sys\n"
        "from tests.support.fakes import Context, fake_dispatcher, http_v2\n"
        "answer = fake_dispatcher({})(http_v2('/v1/embeddings', {'input': 'a'}), Context())\n"
        "assert answer['statusCode'] == 200\n"
        "assert 'lambda_app.api.http.content_encoding' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
