"""The bundle: the directory that the build writes and the function opens, and the ways to fetch one."""

from lambda_app.bundle.manifest import (
    GRAPH,
    MANIFEST,
    SCHEMA_VERSION,
    WEIGHTS,
    Bundle,
    BundleFile,
    ModelInfo,
    Quantization,
    RerankKind,
    Role,
    Tensor,
    TokenizerKind,
    checksum,
    read_manifest,
    verify_bundle,
)

__all__ = [
    "GRAPH",
    "MANIFEST",
    "SCHEMA_VERSION",
    "WEIGHTS",
    "Bundle",
    "BundleFile",
    "ModelInfo",
    "Quantization",
    "RerankKind",
    "Role",
    "Tensor",
    "TokenizerKind",
    "checksum",
    "read_manifest",
    "verify_bundle",
]
