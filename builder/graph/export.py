"""PyTorch to ONNX: exported by optimum, then given the inputs and the one output that the function expects.

Embedders end in pooling and L2 normalisation, so that ``run`` returns (batch, dimensions) and no hidden state
ever leaves the graph; cross-encoders end in one logit per row.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper
from optimum.exporters.onnx import onnx_export_from_model

from builder.errors import ExportError
from builder.graph.head import DenseLayer, add_head, initializer
from builder.graph.word_table import FILE, first_rows, put_back
from lambda_app.bundle import Task

LOGIT_OUTPUT = "logit"
_TASKS: dict[Task, str] = {"embedding": "feature-extraction", "reranker": "text-classification"}


def export_model(torch_model: Any, task: Task, work: Path) -> Path:
    """Exports a PyTorch model with optimum, and returns the ONNX file, as optimum leaves it.

    Raises:
        ExportError: optimum cannot export the architecture.
    """
    directory = work / "optimum"
    path = directory / "model.onnx"
    with first_rows(torch_model) as rows:
        _run_optimum(torch_model, task, directory)
    if not put_back(path, torch_model, rows):
        _run_optimum(torch_model, task, directory)
    return path


def _run_optimum(torch_model: Any, task: Task, directory: Path) -> None:
    try:
        onnx_export_from_model(
            torch_model, directory, task=_TASKS[task], do_validation=False, no_post_process=True
        )
    except (ValueError, KeyError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        raise ExportError(
            f"optimum cannot export the {task} model: {reason} (docs/MODELS.md has what is supported)"
        ) from error


def finish_graph(
    path: Path, task: Task, pooling: str | None, hidden_size: int, dense: Sequence[DenseLayer] = ()
) -> ModelProto:
    """Reads an exported graph and gives it the form that the function expects; its file is removed.

    An embedder's ``pooling`` is followed by the ``dense`` layers. Inputs ``input_ids`` and ``attention_mask``
    (batch, seq) int64, and ``token_type_ids`` in a cross-encoder that has more than one type. Output
    ``embedding`` (batch, dimensions) or ``logit`` (batch,), float32.

    Raises:
        ExportError: the graph does not have the expected form.
    """
    model = onnx.load(str(path))
    path.unlink()
    path.with_name(FILE).unlink(missing_ok=True)
    strip(model)
    if task == "embedding":
        if pooling is None:
            raise ExportError("an embedder needs a pooling")
        _fold_token_types(model)
        hidden = _take_output(model, "last_hidden_state")
        add_head(model, hidden, pooling, dense, len(dense[-1].weight) if dense else hidden_size)
    else:
        _drop_single_type(model)
        _single_logit(model)
    return model


def _single_logit(model: ModelProto) -> None:
    logits = _take_output(model, "logits")
    initializer(model, "logit_axis", np.array([1], np.int64))
    model.graph.node.append(helper.make_node("Squeeze", [logits, "logit_axis"], [LOGIT_OUTPUT], LOGIT_OUTPUT))
    model.graph.output.append(helper.make_tensor_value_info(LOGIT_OUTPUT, TensorProto.FLOAT, ["batch"]))


def _fold_token_types(model: ModelProto) -> None:
    """Makes ``token_type_ids`` a (1, 1) zero: its embedding broadcasts, and is a constant when optimised."""
    for position, value in enumerate(model.graph.input):
        if value.name == "token_type_ids":
            del model.graph.input[position]
            initializer(model, "token_type_ids", np.zeros((1, 1), np.int64))
            return


def _drop_single_type(model: ModelProto) -> None:
    """A cross-encoder whose table of token types has one row takes no ``token_type_ids``."""
    lookups = [
        node for node in model.graph.node if node.op_type == "Gather" and node.input[1] == "token_type_ids"
    ]
    rows = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 2}
    if all(rows.get(node.input[0]) == 1 for node in lookups):
        _fold_token_types(model)


def _take_output(model: ModelProto, name: str) -> str:
    """Removes the graph's only output and returns the name of its tensor."""
    names = [output.name for output in model.graph.output]
    if names != [name]:
        raise ExportError(f"the exported graph has the outputs {names}, expected only {name!r}")
    del model.graph.output[:]
    return name


def strip(model: ModelProto) -> None:
    """Drops what tells of the exporting run rather than of the model."""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:]
    del model.graph.value_info[:]
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]


def save_model(model: ModelProto, path: Path) -> None:
    """Writes a graph with its weights beside it, as protobuf ends at 2 GB. ``model`` is left without them."""
    onnx.save_model(
        model,
        str(path),
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location=path.with_suffix(".data").name,
        size_threshold=1024,
    )
