"""The usual ONNX file: exported by optimum, fused as its ``-O2`` does, quantized to INT8, all in one file.

What the other onnxruntime contenders open. Same scheme as ours (dynamic, per channel, seven bits), so that
what differs is how it is opened and run.
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from pathlib import Path

# As the hub's INT8 files are: beside the graph, what the contenders' libraries read.
_COMPANIONS = (
    *("config.json", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "vocab.txt"),
)
GRAPH = "model.onnx"


def write_single_file(source: Path, task: str, directory: Path) -> None:
    """Writes the INT8 file of a model in Hugging Face layout, and its companions, in ``directory``."""
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model
    from optimum.exporters.onnx import main_export

    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"(torch|transformers|optimum|onnx|onnxruntime)\b")
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        work = Path(scratch)
        main_export(
            str(source), output=work, task=task, library_name="transformers", do_validation=False,
            no_post_process=True, local_files_only=True,
        )  # fmt: skip
        shape = json.loads((source / "config.json").read_text(encoding="utf-8"))
        options = FusionOptions("bert")
        # Fused, it would keep the word embeddings in FP32: three times the bytes.
        options.enable_embed_layer_norm = False
        fused = optimize_model(
            str(work / GRAPH), model_type="bert", opt_level=0,
            num_heads=shape["num_attention_heads"], hidden_size=shape["hidden_size"],
            optimization_options=options,
        )  # fmt: skip
        fused.save_model_to_file(str(work / "fused.onnx"), use_external_data_format=True)
        quantize_dynamic(
            work / "fused.onnx", directory / GRAPH, per_channel=True, reduce_range=True,
            weight_type=QuantType.QInt8, extra_options={"DefaultTensorType": 1},
        )  # fmt: skip
    for name in _COMPANIONS:
        if (source / name).exists():
            shutil.copyfile(source / name, directory / name)
