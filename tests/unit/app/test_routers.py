"""APP_ROUTERS: a deployer's own typed routes."""

from __future__ import annotations

import json
import re
import sys
from types import ModuleType

import pytest
from fastapi import APIRouter, Request

from lambda_app.errors import ConfigurationError
from scripts.paths import ROOT
from tests.support.fakes import Context, fake_dispatcher, http_v2


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that docs/CLIENTS.md shows."""
    page = (ROOT / "docs" / "CLIENTS.md").read_text(encoding="utf-8").partition("## Your own routes")[2]
    code = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)[0]
    module = ModuleType("my_module")
    monkeypatch.setitem(sys.modules, "my_module", module)
    exec(compile(code, "my_module", "exec"), module.__dict__)


@pytest.mark.usefixtures("example")
def test_a_router_of_the_deployers_own_is_served_and_described() -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "APP_ROUTERS": "my_module:router"})
    answer = dispatcher(http_v2("/team/ask", {"text": "a"}), Context())
    assert (answer["statusCode"], json.loads(answer["body"])) == (200, {"text": "a", "language": "en"})
    assert dispatcher(http_v2("/team/ask", {"text": 1}), Context())["statusCode"] == 422
    assert dispatcher(http_v2("/team/ask/", {"text": "a"}), Context())["statusCode"] == 200
    assert dispatcher(http_v2("/team/none/", {"text": "a"}), Context())["statusCode"] == 404
    assert dispatcher(http_v2("/team/ask/"), Context())["statusCode"] == 405
    assert dispatcher(http_v2("/embed", {"inputs": "a"}), Context())["statusCode"] == 200
    document = json.loads(dispatcher(http_v2("/openapi.json"), Context())["body"])
    assert {"/team/ask", "/v1/embeddings"} <= document["paths"].keys()
    assert document["components"]["schemas"]["Question"]["required"] == ["text"]


def test_a_bug_in_a_router_is_a_typed_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    router = APIRouter()

    @router.get("/url")
    def url(request: Request) -> str:
        return str(request.url)

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("SECRET")

    module = ModuleType("my_broken_module")
    monkeypatch.setattr(module, "router", router, raising=False)
    monkeypatch.setitem(sys.modules, "my_broken_module", module)
    origin = "https://a.example"
    dispatcher = fake_dispatcher({"APP_ROUTERS": "my_broken_module:router", "CORS_ALLOW_ORIGINS": origin})
    answer = dispatcher(http_v2("/broken", headers={"origin": origin}), Context())
    assert (answer["statusCode"], answer["headers"]["access-control-allow-origin"]) == (500, origin)
    assert json.loads(answer["body"])["error"]["code"] == "internal_error"
    written = capfd.readouterr()
    fault, line = map(json.loads, written.out.splitlines())
    assert (fault["type"], line["outcome"]) == ("RuntimeError", "500")
    assert "SECRET" not in answer["body"] + written.out + written.err
    # Headers that no address can be made of are left out.
    for headers in ({"host": "[SECRET]"}, {"x-forwarded-proto": "https, http"}, {"host": "a/b?c"}):
        answer = dispatcher(http_v2("/url", headers=headers), Context())
        assert (answer["statusCode"], "SECRET" in answer["body"]) == (200, False)


@pytest.mark.parametrize("name", ["no_such_module:router", "json:dumps", "json:no_such", "json"])
def test_what_is_not_a_router_is_refused(name: str) -> None:
    dispatcher = fake_dispatcher({"LOG_LEVEL": "ERROR", "APP_ROUTERS": name})
    with pytest.raises(ConfigurationError, match="APP_ROUTERS"):
        dispatcher(http_v2("/health"), Context())
