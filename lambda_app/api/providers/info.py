"""``GET /info`` and ``{"action": "info"}``: what runs here, for readers of TEI's ``/info`` and for ours."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lambda_app import __version__
from lambda_app.bundle.versions import RUNTIME_VERSION_DIFFERS, installed_versions, version_differences
from lambda_app.cpu import cpu_features, is_checked
from lambda_app.limits import BATCH_TOKENS

if TYPE_CHECKING:
    from lambda_app.bundle import ModelInfo
    from lambda_app.invocation import Invocation
    from lambda_app.service.service import Service


def health(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, str]:
    """Says that the function runs; no model is touched."""
    return {"status": "ok"}


def describe(service: Service, payload: Mapping[str, Any], invocation: Invocation) -> dict[str, Any]:
    """Returns models, quantization, CPU features, versions, limits and the cold start's phases.

    With the fields of TEI, which serves one task: embedding here, ranking where nothing else is served.
    """
    models = service.models()
    return (_tei_fields(service, models[0]) if models else {}) | _own_fields(service, models)


def _tei_fields(service: Service, model: ModelInfo) -> dict[str, Any]:
    # What is served, and not what the model is: a bi-encoder's embedding model may be there for ranking only.
    kind = (
        {"embedding": {"pooling": model.pooling}}
        if service.registry.serves("embedding")
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
    }


def _own_fields(service: Service, models: Sequence[ModelInfo]) -> dict[str, Any]:
    registry = service.registry
    clock = registry.clock
    features = cpu_features()
    return {
        "models": {model.task: _describe_model(model, features) for model in models},
        "rerank_kind": registry.bundle.rerank_kind if registry.serves("reranker") else None,
        "build": dict(registry.bundle.build),
        "threads": registry.threads,
        "memory_mb": registry.settings.memory_mb,
        "initialization_type": registry.settings.initialization_type,
        "cpu": {"architecture": platform.machine(), "features": features},
        "versions": {"python": platform.python_version(), **_library_versions()},
        "warnings": _warnings(registry.bundle.build),
        "limits": service.limits._asdict(),
        "cold_start": {"phases_ms": clock.milliseconds(), "spans_ms": clock.spans()},
    }


def _describe_model(model: ModelInfo, features: Sequence[str]) -> dict[str, Any]:
    return {
        "id": model.id,
        "revision": model.source.get("revision"),
        "architecture": model.architecture,
        "dimensions": model.dimensions,
        "matryoshka": list(model.matryoshka),
        "max_tokens": model.max_tokens,
        "pooling": model.pooling,
        "prompts": dict(model.prompts),
        "activation": model.activation,
        "quantization": {
            "scheme": model.quantization.scheme,
            "weight_bits": model.quantization.weight_bits,
            "instruction_sets": list(model.quantization.instruction_sets),
            "checked_for_this_cpu": is_checked(model.quantization.instruction_sets, features),
        },
        "tokenizer": model.tokenizer_kind,
        "fingerprint": model.fingerprint,
        "bytes": sum(file.bytes for file in model.files),
        "parity": dict(model.parity),
    }


def _warnings(build: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"code": RUNTIME_VERSION_DIFFERS, "message": difference.message}
        for difference in version_differences(build, installed_versions())
    ]


def _library_versions() -> dict[str, str]:
    names = ("onnxruntime", "tokenizers", "numpy", "fastapi", "mangum", "awslambdaric")
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in names}
    return {name: str(version) for name, version in loaded.items() if version is not None}
