"""The OpenAPI document, made from the table of routes when it is asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from lambda_app import __version__
from lambda_app.api.docs.schemas import cohere, openai, tei
from lambda_app.api.parsing.request import Request
from lambda_app.api.routes import ROUTES, ErrorFormat, Route

QUERY = "how is yellow fever transmitted"
TEXTS = ["The treaty was signed in 1648.", "Yellow fever is transmitted by mosquitoes."]
REFERENCE = "#/components/schemas/{model}"
TITLE = "Embeddings and reranking"
DESCRIPTION = (
    "Texts to vectors, and documents ranked by how well they answer a query, in the formats of OpenAI, "
    "Cohere, Jina, Voyage and text-embeddings-inference (TEI). Words of a list are taken in any case."
)
# Which statuses errors have, by family; a 401 only where keys are set.
STATUSES = {
    400: "The request cannot be served as it is: the message says what to change.",
    401: "No key, or one that is not known.",
    404: "This function was deployed without the model that the request needs.",
    413: "Too many texts, or too long ones, or more than one answer can carry.",
    415: "The body has a Content-Encoding that is not gzip.",
    500: "The function's own fault: its log has the cause.",
    504: "Time ran out before all was done.",
}
TEI_STATUSES = {
    400: "The body is not JSON, or holds no text.",
    401: STATUSES[401],
    413: STATUSES[413],
    415: STATUSES[415],
    422: "A field is missing, unknown or wrong, or a text cannot be read.",
    424: STATUSES[404],
    500: STATUSES[500],
    504: STATUSES[504],
}


# Examples of bodies, by path and name.
_RERANK = {"query": QUERY, "documents": TEXTS, "top_n": 1}
_EMBED = {"input type": {"inputs": TEXTS, "prompt_name": "passage"}, "one": {"inputs": QUERY}}
_COMPARE = {"sentences": {"inputs": {"source_sentence": QUERY, "sentences": TEXTS}}}
EXAMPLES: Mapping[str, Mapping[str, Any]] = {
    "/v1/embeddings": {
        "openai": {"input": TEXTS, "model": "e5-base-v2", "encoding_format": "float"},
        "alias": {"input": QUERY, "model": "e5-base-v2:query", "encoding_format": "base64"},
        "voyage": {"input": TEXTS, "input_type": "document", "output_dtype": "int8"},
        "jina": {"input": [{"text": QUERY}], "task": "retrieval.query", "embedding_type": "ubinary"},
    },
    "/v1/rerank": {
        "cohere": {**_RERANK, "return_documents": True},
        "fields": {
            "query": QUERY,
            "documents": [{"title": "Yellow fever", "text": TEXTS[1]}],
            "rank_fields": ["title", "text"],
        },
        "voyage": {"query": QUERY, "documents": TEXTS, "top_k": 1, "truncation": True},
    },
    "/v2/rerank": {"cohere": _RERANK, "limit": {**_RERANK, "max_tokens_per_doc": 64}},
    "/v1/embed": {
        "floats": {"texts": TEXTS, "input_type": "search_document"},
        "types": {"texts": TEXTS, "embedding_types": ["int8", "ubinary"]},
    },
    "/v2/embed": {
        "texts": {"texts": [QUERY], "input_type": "search_query", "embedding_types": ["float"]},
        "inputs": {"inputs": [{"content": [{"type": "text", "text": QUERY}]}]},
    },
    "/": {**_EMBED, **_COMPARE},
    "/embed": _EMBED,
    "/rerank": {
        "texts": {"query": QUERY, "texts": TEXTS, "return_text": True},
        "documents": {**_RERANK, "return_documents": True},
    },
    "/similarity": _COMPARE,
    "/tokenize": {"one": {"inputs": QUERY}},
    "/snowflake/embed": {"rows": {"data": [[0, TEXTS[0], "passage"], [1, QUERY, "query"], [2, None, None]]}},
    "/snowflake/rerank": {"rows": {"data": [[0, QUERY, TEXTS[0]], [1, QUERY, TEXTS[1]]]}},
}
# The headers that a key may stand in: see api/http/auth.py. Swagger UI's Authorize button reads them.
SECURITY: Mapping[str, Mapping[str, str]] = {
    "key": {"type": "http", "scheme": "bearer"},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}
ERRORS: Mapping[ErrorFormat, type[BaseModel]] = {
    "openai": openai.OpenAIError,
    "embeddings": openai.EmbeddingsError,
    "rerank": cohere.RerankError,
    "cohere": cohere.CohereError,
    "tei": tei.TeiError,
}


class Operation(NamedTuple):
    """A route with its schemas.

    They are the model of its body (None for GET), examples of bodies by name, the type of its response, and
    the model and statuses of its errors.
    """

    path: str
    tags: tuple[str, ...]
    summary: str
    request: type[Request] | None
    examples: Mapping[str, Any]
    answer: Any
    error: type[BaseModel]
    statuses: Mapping[int, str]


def operations() -> tuple[Operation, ...]:
    """Returns every route that the document describes."""
    # A route that has other paths has the same examples at each.
    examples = {(route.module, route.function): EXAMPLES.get(route.path) for route in reversed(ROUTES)}
    return tuple(
        Operation(
            re.sub(r":\w+}", "}", route.path),
            route.tags,
            route.summary,
            _named(route.request) if route.request else None,
            examples[route.module, route.function] or {},
            _named(route.response),
            ERRORS[route.errors],
            _statuses(route),
        )
        for route in ROUTES
        if route.response
    )


def _statuses(route: Route) -> Mapping[int, str]:
    if route.method == "POST":
        return TEI_STATUSES if route.errors == "tei" else STATUSES
    if route.path == "/health":
        return {}
    missing = {404: "No such model."} if "{name" in route.path else {}
    return {401: STATUSES[401], **missing}


def _named(name: str) -> Any:
    """Returns the schema that the table of routes names."""
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(f"lambda_app.api.{module}"), attribute)


def document(prefix: str = "") -> dict[str, Any]:
    """The document, for an API whose paths begin with ``prefix``, such as a stage's name."""
    described = operations()
    errors = dict.fromkeys(operation.error for operation in described)
    names, components = models_json_schema(
        [(model, "validation") for model in errors], ref_template=REFERENCE
    )
    schemas = dict(components.get("$defs", {}))

    def refer(kind: Any) -> dict[str, Any]:
        if kind.__name__ not in schemas:
            schemas[kind.__name__] = {}  # one that refers to itself finds it here
            schemas[kind.__name__] = kind.schema(refer)
        return {"$ref": REFERENCE.format(model=kind.__name__)}

    paths: dict[str, Any] = {}
    for route in described:
        answer = _schema(route.answer, schemas)
        error = names[(route.error, "validation")]
        operation: dict[str, Any] = {
            "tags": list(route.tags),
            "summary": route.summary,
            "operationId": _operation_id(route),
            "responses": {
                "200": _response("The answer.", answer, fingerprint=route.request is not None),
                **{
                    str(status): _response(description, error)
                    for status, description in route.statuses.items()
                },
            },
        }
        if route.request is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": refer(route.request),
                        "examples": {name: {"value": value} for name, value in route.examples.items()},
                    }
                },
            }
        if route.path == "/health":
            operation["security"] = []
        if parameters := re.findall(r"{(\w+)}", route.path):
            schema = {"type": "string", "minLength": 1}
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": schema} for name in parameters
            ]
        paths[route.path] = {"get" if route.request is None else "post": operation}
    return {
        "openapi": "3.1.0",
        "info": {"title": TITLE, "description": DESCRIPTION, "version": __version__},
        "servers": [{"url": prefix or "/"}],
        # With or without: whether keys are asked for is the deployment's choice.
        "security": [{}, *({name: []} for name in SECURITY)],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": SECURITY,
        },
    }


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    """The schema of an answer; what it refers to is added to ``schemas``."""
    schema = TypeAdapter(kind).json_schema(mode="serialization", ref_template=REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        schemas[kind.__name__] = schema
        return {"$ref": REFERENCE.format(model=kind.__name__)}
    return schema


def _response(description: str, schema: Mapping[str, Any], *, fingerprint: bool = False) -> dict[str, Any]:
    headers = {"x-request-id": "The request id in the function's log."}
    if fingerprint:
        headers["x-model-fingerprint"] = "Of the vector space; changes when vectors no longer compare."
        headers["x-ignored-fields"] = "Names of the request's fields that the route does not have, if any."
    return {
        "description": description,
        "headers": {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        },
        "content": {"application/json": {"schema": schema}},
    }


def _operation_id(route: Operation) -> str:
    words = [word.strip("{}") for word in route.path.split("/") if word]
    return "_".join(words) or "root"
