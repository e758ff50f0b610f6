"""``/``, ``/openapi.json`` and ``/docs``: the API's description, and Swagger UI over it, without a network.

Swagger UI's files come with the package fastapi-offline, which is never imported: only its files are of use.
"""

from __future__ import annotations

import gzip
import html
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from fastapi.openapi.docs import get_swagger_ui_html

from lambda_app.api.docs.openapi_document import TITLE, document
from lambda_app.errors import NotFoundError

ASSETS = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
# They change with a deployment, whose pages may stand at the same address.
CACHE_SECONDS = 3_600


HOME = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<h1>{title}</h1>
<p>All routes, to try in a browser: <a href="{prefix}/docs">{prefix}/docs</a></p>
<p>The same for programs: <a href="{prefix}/openapi.json">{prefix}/openapi.json</a></p>
</html>
"""


class Page(NamedTuple):
    """A body that is not JSON of ours, and its headers."""

    content: bytes
    headers: dict[str, str]


def home(event: Mapping[str, Any], route: str) -> Page:
    """Says where ``/docs`` is, to those who open the bare address."""
    content = HOME.format(title=TITLE, prefix=html.escape(_prefix(event, route)))
    return Page(content.encode("utf-8"), {"content-type": "text/html; charset=utf-8"})


def openapi(event: Mapping[str, Any], route: str) -> Page:
    """The OpenAPI document; paths in it begin where the caller's do."""
    content = json.dumps(document(_prefix(event, route)), ensure_ascii=False).encode("utf-8")
    return Page(content, {"content-type": "application/json"})


def docs(event: Mapping[str, Any], route: str) -> Page:
    """Swagger UI. Its addresses are relative, so that it works below a stage too."""
    path = event["callerPath"]
    # To a browser a slash at the end is one more directory.
    up = "../" * (len(path) - len(path.rstrip("/")))
    page = get_swagger_ui_html(
        openapi_url=f"{up}openapi.json",
        title=TITLE,
        swagger_js_url=f"{up}docs/swagger-ui-bundle.js",
        swagger_css_url=f"{up}docs/swagger-ui.css",
        swagger_favicon_url="data:,",
        # Swagger UI would ask a server of its makers whether the document is valid.
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": True},
    )
    return Page(bytes(page.body), {"content-type": "text/html; charset=utf-8"})


def asset(event: Mapping[str, Any], route: str, name: str) -> Page:
    """A file of Swagger UI, compressed where the caller's gateway passes bytes on as they are.

    Raises:
        NotFoundError: there is none of that name.
    """
    spec = find_spec("fastapi_offline")
    directory = next(iter((spec and spec.submodule_search_locations) or ()), None)
    if name not in ASSETS or directory is None:
        raise NotFoundError("no such file")
    content = (Path(directory) / "static" / name).read_bytes()
    headers = {
        "content-type": f"{ASSETS[name]}; charset=utf-8",
        "cache-control": f"private, max-age={CACHE_SECONDS}",
    }
    if _takes_gzip(event):
        # A third of the bytes, which a load balancer's limit of 1 MB asks for.
        content, headers["content-encoding"] = gzip.compress(content), "gzip"
    return Page(content, headers)


def _prefix(event: Mapping[str, Any], route: str) -> str:
    """What stands in front of the route in the caller's address: a stage's name, or a base path."""
    whole = "".join(f"/{part}" for part in event["callerPath"].split("/") if part)
    return whole.removesuffix(route) if whole.endswith(route) or route == "/" else ""


def _takes_gzip(event: Mapping[str, Any]) -> bool:
    """REST APIs hand on base64 as text unless they were set up otherwise; the other gateways decode it."""
    if not (event.get("version") == "2.0" or "elb" in event["requestContext"]):
        return False
    headers = {**event["headers"]}
    headers |= {name: ",".join(values) for name, values in (event.get("multiValueHeaders") or {}).items()}
    return any(name.lower() == "accept-encoding" and "gzip" in value for name, value in headers.items())
