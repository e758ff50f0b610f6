"""``GET /info``: what runs here, for readers of TEI's ``/info`` and for ours."""

from __future__ import annotations

from typing import Any

from lambda_app import __version__
from lambda_app.limits import BATCH_TOKENS
from lambda_app.service.service import Service


def health(service: Service) -> dict[str, str]:
    """That the function answers; no model is touched."""
    return {"status": "ok"}


def describe(service: Service) -> dict[str, Any]:
    """Models, quantization, CPU features, versions, limits and the cold start's phases.

    Beside them the fields of TEI, which serves one model: about the embedding model, or about the reranker
    where there is none.
    """
    models = service.models()
    if not models:
        return service.info()
    model = models[0]
    kind = (
        {"embedding": {"pooling": model.pooling}}
        if model.role == "embedding"
        else {"reranker": {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}}
    )
    return {
        "model_id": model.id,
        "model_sha": model.source.get("revision"),
        "model_dtype": model.quantization.scheme,
        "model_type": kind,
        # An execution environment of Lambda serves one request at a time.
        "max_concurrent_requests": 1,
        "max_input_length": model.max_tokens,
        "max_batch_tokens": BATCH_TOKENS,
        "max_batch_requests": None,
        "max_client_batch_size": service.limits.embed_texts,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": __version__,
        "sha": None,
        "docker_label": None,
        **service.info(),
    }
