"""From the exported FP32 graph to the one that ships: fused, quantized and optimised.

The result is fully optimised, so that the function opens it as it is. Fusion and optimisation are
onnxruntime's; what happens to weights is the scheme's (:mod:`builder.quantization.schemes`).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import onnx
import onnxruntime
from onnx import ModelProto, helper
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model

from builder.config.schema import Arch
from builder.errors import ExportError
from builder.graph.export import save_model
from builder.memory import release_memory
from builder.quantization.activation_scale import ActivationScale
from builder.quantization.calibration import Batch
from builder.quantization.mixed import MixedQuantizer
from builder.quantization.schemes import SCHEMES, Scheme

_FUSED_DOMAIN = "com.microsoft"


def quantize_model(
    source: Path,
    scheme: str,
    arch: Arch,
    batches: Sequence[Batch],
    *,
    heads: int,
    hidden_size: int,
    vocabulary: int,
    work: Path,
    mixed: MixedQuantizer | None = None,
    recorded: Mapping[str, ActivationScale] | None = None,
) -> tuple[ModelProto, dict[str, ActivationScale]]:
    """Fuses, quantizes and optimises a graph in a file for CPU; its inputs and outputs stay as they are.

    Returns it and the scales of its activations, by tensor; ``recorded`` has those of an earlier build.
    ``mixed`` does it in the scheme of that name. Steps pass files on, so that the FP32 weights are in memory
    once.

    Raises:
        ExportError: onnxruntime cannot optimise or quantize the graph.
    """
    prepared, fused, quantized, optimised = (
        work / f"{stage}.onnx" for stage in ("prepared", "fused", "quantized", "optimised")
    )
    chosen = SCHEMES[scheme]
    with _quiet_logging():
        try:
            _prepare(chosen, source, prepared, vocabulary)
            release_memory()
            _fuse(prepared, fused, heads=heads, hidden_size=hidden_size, attention=chosen.attention)
            prepared.unlink()
            prepared.with_suffix(".data").unlink(missing_ok=True)
            release_memory()
            if mixed is not None:
                scales = mixed(fused, quantized, batches, recorded)
            else:
                scales = chosen.quantize(fused, quantized, arch, batches, recorded or {})
            _optimise(quantized, optimised)
            result = onnx.load(str(optimised))
            chosen.finish(result)
            return result, scales
        except (RuntimeError, ValueError, KeyError, AttributeError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            raise ExportError(f"onnxruntime cannot quantize the graph ({scheme}): {reason}") from error


def _prepare(scheme: Scheme, source: Path, target: Path, vocabulary: int) -> None:
    model = onnx.load(str(source))
    scheme.prepare(model, vocabulary)
    save_model(model, target)


def _fuse(source: Path, target: Path, *, heads: int, hidden_size: int, attention: bool = True) -> None:
    """Attention, GELU and layer-norm fusions where the architecture's graph has them, else nothing.

    Attention as one node (not MultiHeadAttention): same speed, a third less to load. EmbedLayerNormalization
    stays unfused, because it would read the word-embedding table in FP32; SkipLayerNormalization, because its
    CPU kernel is slower than Add and LayerNormalization are: 9 to 13% of a whole INT8 e5-base inference.
    """
    options = FusionOptions("bert")
    options.enable_embed_layer_norm = False
    options.enable_skip_layer_norm = False
    options.enable_bias_skip_layer_norm = False
    options.use_multi_head_attention = not attention
    fused = optimize_model(
        str(source),
        model_type="bert",
        num_heads=heads,
        hidden_size=hidden_size,
        optimization_options=options,
        opt_level=0,
    ).model
    fused.graph.name = "model"
    if not any(entry.domain == _FUSED_DOMAIN for entry in fused.opset_import):
        fused.opset_import.append(helper.make_opsetid(_FUSED_DOMAIN, 1))
    save_model(fused, target)


def _optimise(source: Path, target: Path) -> None:
    """Runs ONNX Runtime's own CPU graph optimisations once, here, so that the function need not.

    EXTENDED, not ALL: the layout optimisations above it depend on the CPU that does them.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    weights = target.with_suffix(".data").name
    options.add_session_config_entry("session.optimized_model_external_initializers_file_name", weights)
    options.add_session_config_entry(
        "session.optimized_model_external_initializers_min_size_in_bytes", "1024"
    )
    onnxruntime.InferenceSession(
        str(source),
        options,
        providers=["CPUExecutionProvider"],
        # See _fuse and integer_nodes: they would fuse here what was left apart there.
        disabled_optimizers=["SkipLayerNormFusion", "BiasGeluFusion"],
    )


@contextmanager
def _quiet_logging() -> Iterator[None]:
    """The optimizer and the quantizer advise through the root logger on things that are decided here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
