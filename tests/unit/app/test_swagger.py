"""/docs: Swagger UI, served without a network."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode
from typing import Any
from urllib.parse import urljoin

import pytest

from lambda_app.api.http.auth import KEY_HEADERS
from lambda_app.limits import ALB_RESPONSE_BYTES
from tests.support.fakes import Context, fake_dispatcher, http_v2

DISPATCHER = fake_dispatcher({"LOG_LEVEL": "ERROR"})


def send(path: str, body: Any = None, **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = DISPATCHER(http_v2(path, body, **options), Context())
    return answer


@pytest.mark.parametrize("slashes", ["", "/"])
def test_the_page_finds_its_files_behind_any_address(slashes: str) -> None:
    """As a browser joins a relative address to that of the page."""
    event = http_v2(f"/prod/docs{slashes}")
    event["requestContext"]["stage"] = "prod"
    page = DISPATCHER(event, Context())["body"]
    found = re.findall(r"""(?:src|href|url)[=:]\s*["']([^"':]+)["']""", page)
    whole = [urljoin(f"https://id.example/prod/docs{slashes}", address) for address in found]
    assert sorted(whole) == [
        "https://id.example/prod/docs/swagger-ui-bundle.js",
        "https://id.example/prod/docs/swagger-ui.css",
        "https://id.example/prod/openapi.json",
    ]


@pytest.mark.parametrize(
    ("path", "stage", "base", "prefix"),
    [
        ("/", "$default", "", ""),
        ("//", "$default", "", ""),
        ("/prod", "prod", "", "/prod"),
        ("/prod/", "prod", "", "/prod"),
        ("/prod/search", "prod", "/search", "/prod/search"),
        ('/a"<b>', "$default", '/a"<b>', "/a&quot;&lt;b&gt;"),
    ],
)
def test_the_bare_address_points_to_the_page(path: str, stage: str, base: str, prefix: str) -> None:
    event = http_v2(path)
    event["requestContext"]["stage"] = stage
    answer = fake_dispatcher({"LOG_LEVEL": "ERROR", "API_BASE_PATH": base})(event, Context())
    assert answer["statusCode"] == 200
    assert answer["headers"]["content-type"].startswith("text/html")
    assert re.findall('href="([^"]+)"', answer["body"]) == [f"{prefix}/docs", f"{prefix}/openapi.json"]


def test_the_authorize_button_has_a_scheme_for_each_header_of_a_key() -> None:
    document = json.loads(send("/openapi.json")["body"])
    schemes = document["components"]["securitySchemes"]
    assert {scheme.get("name", scheme.get("scheme")) for scheme in schemes.values()} == {
        "bearer",
        *KEY_HEADERS,
    }
    # Each by itself, or none: whether keys are asked for is the deployment's choice.
    assert document["security"] == [{}, *({name: []} for name in schemes)]
    assert '"persistAuthorization": true' in send("/docs")["body"]


def test_swagger_ui_comes_from_here() -> None:
    page = send("/docs")
    assert page["headers"]["content-type"].startswith("text/html")
    addresses = re.findall(r"""(?:src|href|url)[=:]\s*["']([^"']+)["']""", page["body"])
    assert sorted(addresses) == ["data:,", "docs/swagger-ui-bundle.js", "docs/swagger-ui.css", "openapi.json"]
    assert '"validatorUrl": null' in page["body"]
    for name, kind in (("swagger-ui-bundle.js", "text/javascript"), ("swagger-ui.css", "text/css")):
        plain = send(f"/docs/{name}")
        assert plain["headers"]["content-type"].startswith(kind)
        packed = send(f"/docs/{name}", headers={"accept-encoding": "gzip, br"})
        assert packed["isBase64Encoded"]
        assert packed["headers"]["content-encoding"] == "gzip"
        assert gzip.decompress(b64decode(packed["body"])).decode() == plain["body"]
        assert len(packed["body"]) < ALB_RESPONSE_BYTES - 10_000


@pytest.mark.parametrize("name", ["favicon.png", "..", "%2e%2e/core.py", "redoc.standalone.js"])
def test_no_other_file_is_served(name: str) -> None:
    answer = send(f"/docs/{name}")
    assert answer["statusCode"] == 404
    assert json.loads(answer["body"])["error"]["code"] == "not_found"
