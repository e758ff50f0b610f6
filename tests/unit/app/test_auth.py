"""API keys: no route but /health answers without one, and nothing tells what a key is."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import pytest

from lambda_app.api.http import gateway
from lambda_app.api.http.auth import check_key, is_known
from lambda_app.errors import AuthenticationError
from scripts.paths import ROOT
from tests.support.fakes import Context, fake_dispatcher, http_v2

KEY = "k-5f0c2d7e9a"
OTHER = "k-another"
HASHES = {"API_KEYS_SHA256": ",".join(hashlib.sha256(key.encode()).hexdigest() for key in (KEY, OTHER))}
GUARDED = fake_dispatcher({"LOG_LEVEL": "ERROR", **HASHES})
BODY = {"input": "a"}
PAGES = {"/", "/docs", "/openapi.json"}
ROUTES = [
    ("POST", "/v1/embeddings"),
    ("GET", "/v1/embeddings"),
    ("POST", "/v1/rerank"),
    ("GET", "/v1/models"),
    ("GET", "/info"),
    ("GET", "/docs"),
    ("GET", "/openapi.json"),
    ("GET", "/nowhere"),
    ("GET", "/"),
    ("OPTIONS", "/v1/embeddings"),
    ("OPTIONS", "/health"),
    ("POST", "/health"),
    ("DELETE", "/health"),
    ("GET", "/HEALTH"),
    ("GET", "/health;/v1/models"),
    ("GET", "/health/../v1/models"),
    ("GET", "/health%2f..%2fv1%2fmodels"),
    ("GET", "/%68ealth"),
    ("GET", "/v1/models?/health"),
]


def call(event: Any) -> tuple[int, dict[str, str], Any]:
    answer = GUARDED(event, Context())
    return answer["statusCode"], answer["headers"], json.loads(answer["body"])


def embed(**headers: Any) -> int:
    return int(GUARDED(http_v2("/v1/embeddings", BODY, headers=headers), Context())["statusCode"])


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_nothing_answers_without_a_key(method: str, path: str) -> None:
    status, headers, body = call(http_v2(path, json.dumps(BODY), method=method))
    assert status == 401
    assert headers["www-authenticate"] == "Bearer"
    # TEI's form, which the bare URL answers in, has the code beside the message; OpenAI's has both inside.
    details = body if path == "/" else body["error"]
    assert details["code"] == "invalid_api_key"
    assert "Bearer" in (details["error"] if path == "/" else details["message"])


@pytest.mark.parametrize("path", ["/health", "/health/", "//health"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_health_answers_without_a_key(method: str, path: str) -> None:
    assert GUARDED(http_v2(path, method=method), Context())["statusCode"] != 401


@pytest.mark.parametrize("key", [KEY, OTHER])
@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR   "])
@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
def test_a_known_key_opens_every_route(name: str, scheme: str, key: str) -> None:
    assert embed(**{name: scheme + key}) == 200
    assert GUARDED(http_v2("/nowhere", headers={name: scheme + key}), Context())["statusCode"] == 404


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Bearer",
        "Bearer ",
        KEY,
        f"Bearer{KEY}",
        f"Bearer\t{KEY}",
        f"Basic {KEY}",
        "Basic " + base64.b64encode(f":{KEY}".encode()).decode(),
        f"Token {KEY}",
        f"Bearer {KEY}x",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY.upper()}",
        f'Bearer "{KEY}"',
        f"Bearer {KEY},Bearer {KEY}",
        f"Bearer wrong, Bearer {KEY}",
        f"Bearer {KEY} extra",
        f"Bearer Bearer {KEY}",
        f"Bearer {KEY}\u200b",
        f"Bearer \u00a0{KEY}",
        f"Bearer {KEY}\0",
        f"Bearer {KEY}\r\nx: y",
        f"Bearer {KEY}\ud800",
        "Bearer " + "".join(f"%{ord(character):02x}" for character in KEY),
        "Bearer " + base64.b64encode(KEY.encode()).decode(),
        "Bearer " + "".join(chr(ord(character) + 0xFEE0) for character in KEY),
        "Bearer " + hashlib.sha256(KEY.encode()).hexdigest(),
        "Bearer " + HASHES["API_KEYS_SHA256"],
        "Bearer " + "x" * 1_000_000,
        None,
        7,
        ["Bearer " + KEY],
    ],
)
def test_tricks_do_not_open_anything(value: Any) -> None:
    assert embed(authorization=value) == 401


@pytest.mark.parametrize("name", ["x-api-key", "api-key", "cookie", "proxy-authorization", "authorization "])
def test_other_headers_do_not_count(name: str) -> None:
    assert embed(**{name: f"Bearer {KEY}"}) == 401


@pytest.mark.parametrize("name", ["api-key", "x-api-key", "X-Api-Key"])
def test_headers_that_hold_a_key_alone(name: str) -> None:
    assert embed(**{name: KEY}) == 200
    assert embed(**{name: f" {OTHER}"}) == 200
    for wrong in ("", " ", "wrong", KEY[:-1], KEY + "x", f"{KEY},{KEY}", f"{KEY}, {OTHER}"):
        assert embed(**{name: wrong}) == 401
    # A gateway has keys of its own in one of them, and signatures in Authorization.
    assert embed(**{name: KEY, "authorization": "AWS4-HMAC-SHA256 Credential=a/b, Signature=c"}) == 200
    assert embed(**{name: "the gateway's", "authorization": f"Bearer {KEY}"}) == 200
    assert embed(**{name: "the gateway's", "authorization": "Bearer wrong"}) == 401
    assert call(rest({}, {name: [KEY]}))[0] == 200
    assert call(rest({name: "wrong"}, {name: [KEY]}))[0] == 401
    assert call(rest({name.lower(): KEY, name.upper(): "wrong"}))[0] == 401


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "asks for a key"),
        ({"authorization": f"Basic {KEY}"}, "asks for a key"),
        ({"authorization": "Bearer wrong"}, "this key is not accepted"),
        ({"authorization": f"Bearer {KEY}x"}, "this key is not accepted"),
    ],
)
def test_a_wrong_key_is_not_the_same_as_none(headers: dict[str, str], message: str) -> None:
    _, _, body = call(http_v2("/v1/embeddings", BODY, headers=headers))
    assert message in body["error"]["message"]
    assert body["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/docs", "/docs/", "/docs/swagger-ui.css", "/openapi.json"])
def test_pages_need_no_key_where_they_are_public(method: str, path: str) -> None:
    public = fake_dispatcher({"LOG_LEVEL": "ERROR", "DOCS_PUBLIC": "true", **HASHES})
    assert public(http_v2(path, method=method), Context())["statusCode"] == 200
    assert GUARDED(http_v2(path, method=method), Context())["statusCode"] == 401
    assert public(http_v2(path, json.dumps(BODY), method="POST"), Context())["statusCode"] == 401


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] not in PAGES])
def test_public_pages_open_nothing_else(method: str, path: str) -> None:
    public = fake_dispatcher({"LOG_LEVEL": "ERROR", "DOCS_PUBLIC": "true", **HASHES})
    assert public(http_v2(path, json.dumps(BODY), method=method), Context())["statusCode"] == 401
    for odd in ("/docs/a/b", "/docs/../info", "/docsx", "/openapi.json/x", "/DOCS"):
        assert public(http_v2(odd), Context())["statusCode"] == 401


def test_keys_elsewhere_in_the_request_do_not_count() -> None:
    event = http_v2("/v1/embeddings", {**BODY, "authorization": f"Bearer {KEY}"})
    event["rawQueryString"] = f"authorization=Bearer%20{KEY}"
    event["queryStringParameters"] = {"authorization": f"Bearer {KEY}"}
    event["cookies"] = [f"authorization=Bearer {KEY}"]
    assert call(event)[0] == 401


def rest(headers: Any, several: Any = None) -> dict[str, Any]:
    return {
        "resource": "/{proxy+}",
        "path": "/v1/embeddings",
        "httpMethod": "POST",
        "headers": headers,
        "multiValueHeaders": several,
        "requestContext": {"stage": "prod", "path": "/prod/v1/embeddings"},
        "body": json.dumps(BODY),
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(
    ("headers", "several", "status"),
    [
        ({"Authorization": f"Bearer {KEY}"}, None, 200),
        ({"Authorization": f"Bearer {KEY}"}, {"Authorization": [f"Bearer {KEY}"]}, 200),
        (None, {"Authorization": [f"Bearer {KEY}"]}, 200),
        ({"Authorization": f"Bearer {KEY}"}, {"Authorization": ["Bearer wrong", f"Bearer {KEY}"]}, 401),
        ({"Authorization": "Bearer wrong"}, {"Authorization": [f"Bearer {KEY}"]}, 401),
        ({"authorization": f"Bearer {KEY}", "Authorization": "Bearer wrong"}, None, 401),
        ({}, {}, 401),
        (None, None, 401),
        ("text", ["text"], 401),
    ],
)
def test_a_header_given_twice_is_read_one_way_only(headers: Any, several: Any, status: int) -> None:
    assert call(rest(headers, several))[0] == status


@pytest.mark.parametrize(("several", "status"), [([], 401), ([f"Bearer {KEY}"], 200), (["", "x"], 401)])
def test_load_balancers_with_multi_value_headers(several: list[str], status: int) -> None:
    event = rest(None, {"authorization": several}) | {"requestContext": {"elb": {}}}
    answer = GUARDED(event, Context())
    assert answer["statusCode"] == status
    if status == 401:
        assert answer["multiValueHeaders"]["www-authenticate"] == ["Bearer"]


@pytest.mark.parametrize("body", ["!!!", None, 7, "\ud800"])
def test_the_key_is_asked_for_before_the_body_is_looked_at(body: Any) -> None:
    event = http_v2("/v1/embeddings") | {"body": body, "isBase64Encoded": True}
    event["requestContext"]["http"]["method"] = "POST"
    assert call(event)[0] == 401


def test_a_stage_and_a_base_path_hide_nothing() -> None:
    guarded = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_BASE_PATH": "/health", **HASHES})
    for path, status in (
        ("/health", 401),
        ("/health/health", 200),
        ("/prod/health/health", 200),
        ("/health/info", 401),
    ):
        event = http_v2(path)
        event["requestContext"]["stage"] = "prod"
        assert guarded(event, Context())["statusCode"] == status


def test_direct_invocation_asks_for_no_key() -> None:
    assert "embeddings" in GUARDED({"action": "embed", "texts": ["a"]}, Context())
    assert GUARDED({"action": "ping"}, Context()) == {"ok": True}


def test_no_key_no_hash_and_no_header_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    guarded = fake_dispatcher({"LOG_LEVEL": "DEBUG", **HASHES})
    marker = "MARKER-7281"
    written = ""
    for key in (KEY, marker, marker + KEY):
        headers = {"authorization": f"Bearer {key}", "x-marker": marker}
        for path in ("/v1/embeddings", "/info", f"/{marker}", "/v1/models"):
            written += json.dumps(guarded(http_v2(path, {"bad": 1}, headers=headers), Context()))
    written += json.dumps(guarded({"action": "info"}, Context()))
    output = capsys.readouterr()
    written += output.out + output.err
    assert '"outcome": "401"' in written
    for secret in (KEY, OTHER, marker, *HASHES["API_KEYS_SHA256"].split(",")):
        assert secret not in written


def test_every_hash_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(digest: str, known: str) -> bool:
        compared.append(known)
        return digest == known

    monkeypatch.setattr(hmac, "compare_digest", compare)
    hashes = [hashlib.sha256(bytes([number])).hexdigest() for number in range(5)]
    assert is_known("\0", hashes)
    assert compared == hashes


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer  ", "bearer \t", None])
def test_an_empty_key_opens_nothing(value: str | None) -> None:
    event = http_v2("/v1/embeddings", BODY, headers={} if value is None else {"authorization": value})
    with pytest.raises(AuthenticationError):
        check_key(gateway.normalise(event, ""), [hashlib.sha256(b"").hexdigest()])


@pytest.mark.soak
def test_the_time_does_not_depend_on_the_key() -> None:
    """Medians of a right key, one with a wrong last and one with a wrong first character, interleaved."""
    keys = [KEY, KEY[:-1] + "x", "x" + KEY[1:]]
    hashes = HASHES["API_KEYS_SHA256"].split(",")
    seconds: dict[str, list[float]] = {key: [] for key in keys}
    for number in range(20_000):
        for key in keys[number % 3 :] + keys[: number % 3]:
            started = time.perf_counter()
            is_known(key, hashes)
            seconds[key].append(time.perf_counter() - started)
    medians = [statistics.median(values) for values in seconds.values()]
    print("median microseconds of right, last wrong, first wrong:", [round(m * 1e6, 3) for m in medians])
    assert max(medians) < min(medians) * 1.15


def test_without_keys_nothing_is_loaded_for_them() -> None:
    code = (
        "import json, sys\n"
        "from tests.support.fakes import Context, fake_dispatcher, http_v2\n"
        "answer = fake_dispatcher({})(http_v2('/v1/embeddings', {'input': 'a'}), Context())\n"
        "assert answer['statusCode'] == 200\n"
        "assert 'lambda_app.api.http.auth' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
