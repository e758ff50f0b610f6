"""The HTTP routes: one table, read by the application, the error formats, the OpenAPI document and the tests.

It imports nothing of the project: modules and schemas are named, and imported by the first request that
needs them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

ErrorFormat = Literal["openai", "embeddings", "rerank", "cohere", "tei"]


class Route(NamedTuple):
    """One route.

    ``module`` is below ``lambda_app.api``, and ``function`` one of its functions. ``errors`` names a format
    in ``api/http/error_responses.py``. ``request`` and ``response`` name classes below
    ``lambda_app.api``; a route without a response is a page for people, and not part of the
    OpenAPI document. ``tags`` are the client APIs that the route belongs to. What a path has in braces
    stands for the field of that name where a body does not have it.
    """

    method: Literal["GET", "POST"]
    path: str
    module: str
    function: str
    errors: ErrorFormat
    request: str
    response: str
    tags: tuple[str, ...]
    summary: str


def _at(route: Route, *paths: str) -> tuple[Route, ...]:
    """Returns a route, and the same one at other paths."""
    return route, *(route._replace(path=path) for path in paths)


_OPENAI, _TEI, _INFO = "providers.openai", "providers.tei", "providers.info"
_SNOWFLAKE = "providers.snowflake"
_TEI_TOKENIZE = "providers.tei_tokenize"
_COHERE_RERANK, _COHERE_EMBED = "providers.cohere.rerank", "providers.cohere.embed"

ROUTES: tuple[Route, ...] = (
    # Without /v1 as TEI, llama.cpp and Infinity have it.
    *_at(
        Route(
            *("POST", "/v1/embeddings", _OPENAI, "embeddings", "embeddings"),
            *("providers.openai.EmbeddingsRequest", "docs.schemas.openai.EmbeddingsAnswer"),
            *(("OpenAI", "Voyage", "Jina"), "Embed texts"),
        ),
        "/embeddings",
    ),
    # https://learn.microsoft.com/azure/ai-foundry/openai/reference
    *_at(
        Route(
            *("POST", "/openai/deployments/{model:path}/embeddings", _OPENAI, "embeddings", "openai"),
            *("providers.openai.EmbeddingsRequest", "docs.schemas.openai.EmbeddingsAnswer"),
            *(("Azure OpenAI",), "Embed texts"),
        ),
        "/openai/v1/embeddings",
    ),
    *_at(
        Route(
            *("GET", "/v1/models", _OPENAI, "models", "openai"),
            *("", "docs.schemas.openai.Models"),
            *(("OpenAI",), "List models"),
        ),
        "/models",
    ),
    Route(
        *("GET", "/v1/models/{name:path}", _OPENAI, "model", "openai"),
        *("", "docs.schemas.openai.Model"),
        *(("OpenAI",), "One model"),
    ),
    # The second and third as llama.cpp has them.
    *_at(
        Route(
            *("POST", "/v1/rerank", _COHERE_RERANK, "rerank_v1", "rerank"),
            *("providers.cohere.rerank.RerankV1Request", "docs.schemas.cohere.RerankV1Answer"),
            *(("Cohere", "Jina", "Voyage"), "Rank documents"),
        ),
        "/v1/reranking",
        "/reranking",
    ),
    Route(
        *("POST", "/v2/rerank", _COHERE_RERANK, "rerank_v2", "cohere"),
        *("providers.cohere.rerank.RerankV2Request", "docs.schemas.cohere.RerankV2Answer"),
        *(("Cohere",), "Rank documents"),
    ),
    Route(
        *("POST", "/v1/embed", _COHERE_EMBED, "embed_v1", "cohere"),
        *("providers.cohere.embed.EmbedV1Request", "docs.schemas.cohere.EmbedV1Answer"),
        *(("Cohere",), "Embed texts"),
    ),
    Route(
        *("POST", "/v2/embed", _COHERE_EMBED, "embed_v2", "cohere"),
        *("providers.cohere.embed.EmbedV2Request", "docs.schemas.cohere.EmbedV2Answer"),
        *(("Cohere",), "Embed texts"),
    ),
    Route(
        *("POST", "/", _TEI, "root", "tei"),
        *("providers.tei.RootRequest", "docs.schemas.tei.RootAnswer"),
        *(("TEI",), "Embed texts, or compare sentences"),
    ),
    Route(
        *("POST", "/embed", _TEI, "embed", "tei"),
        *("providers.tei.TeiEmbedRequest", "docs.schemas.tei.Vectors"),
        *(("TEI",), "Embed texts"),
    ),
    Route(
        *("POST", "/rerank", _TEI, "rerank", "tei"),
        *("providers.tei.AnyRerankRequest", "docs.schemas.tei.RerankAnswer"),
        *(("TEI", "Cohere", "Jina"), "Rank texts, or documents as /v1/rerank does"),
    ),
    Route(
        *("POST", "/similarity", _TEI, "similarity", "tei"),
        *("providers.tei.SimilarityRequest", "docs.schemas.tei.Similarities"),
        *(("TEI",), "Compare sentences"),
    ),
    Route(
        *("POST", "/tokenize", _TEI_TOKENIZE, "tokenize", "tei"),
        *("providers.tei_tokenize.TokenizeRequest", "docs.schemas.tei.TokenLists"),
        *(("TEI",), "See tokens"),
    ),
    Route(
        *("POST", "/snowflake/embed", _SNOWFLAKE, "embed", "openai"),
        *("providers.snowflake.SnowflakeEmbedRequest", "docs.schemas.snowflake.SnowflakeVectors"),
        *(("Snowflake",), "Embed rows"),
    ),
    Route(
        *("POST", "/snowflake/rerank", _SNOWFLAKE, "rerank", "openai"),
        *("providers.snowflake.SnowflakeRerankRequest", "docs.schemas.snowflake.SnowflakeScores"),
        *(("Snowflake",), "Score rows"),
    ),
    Route(
        *("GET", "/info", _INFO, "describe", "openai"),
        *("", "docs.schemas.common.Info"),
        *(("Function",), "What runs here"),
    ),
    Route(
        *("GET", "/health", _INFO, "health", "openai"),
        *("", "docs.schemas.common.Health"),
        *(("Function",), "That the function answers"),
    ),
    # With the errors of the other route at its path.
    Route("GET", "/", "docs.swagger", "home", "tei", "", "", (), "Where to look"),
    Route("GET", "/openapi.json", "docs.swagger", "openapi", "openai", "", "", (), "The OpenAPI document"),
    Route("GET", "/docs", "docs.swagger", "docs", "openai", "", "", (), "Swagger UI"),
    Route("GET", "/docs/{name}", "docs.swagger", "asset", "openai", "", "", (), "A file of Swagger UI"),
)
POSTS = tuple(route for route in ROUTES if route.method == "POST")
PAGES = tuple(route for route in ROUTES if not route.response)
GETS = tuple(route for route in ROUTES if route.method == "GET" and route.response)


def is_route(path: str, routes: Sequence[Route] = ROUTES) -> bool:
    """Returns whether one of the routes answers at a path."""
    patterns = (re.sub(r"{\w+}", "[^/]+", re.sub(r"{\w+:path}", ".+", route.path)) for route in routes)
    return any(re.fullmatch(pattern, path) for pattern in patterns)
