"""The table of word embeddings, which goes around the exporter.

PyTorch's exporter has up to five copies of every weight at once, and a multilingual model's table is most of
it: 768 of bge-reranker-base's 1,112 MB. A model is exported with the first rows of its table, and the whole
one takes their place in the graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import ModelProto, TensorProto
from onnx.external_data_helper import set_external_data

FILE = "words.bin"
_ROWS = 64


@contextmanager
def first_rows(torch_model: Any) -> Iterator[int]:
    """Leaves a model the first rows of its table, and gives their number."""
    words, config = torch_model.get_input_embeddings(), torch_model.config
    whole, vocabulary = words.weight, config.vocab_size
    # The row of padding has to stay.
    rows = min(len(whole), max(_ROWS, (words.padding_idx or 0) + 1))
    words.weight = torch.nn.Parameter(whole[:rows].detach().clone(), requires_grad=False)
    # The exporter's example has words of the whole vocabulary.
    config.vocab_size = rows
    try:
        yield rows
    finally:
        words.weight, config.vocab_size = whole, vocabulary


def put_back(path: Path, torch_model: Any, rows: int) -> bool:
    """Puts the whole table in an exported graph, as a file beside it.

    Returns whether the graph has the one lookup that this takes.
    """
    model = onnx.load(str(path), load_external_data=False)
    tables = [tensor for tensor in _looked_up(model) if tensor.dims[0] == rows]
    if len(tables) != 1:
        return False
    whole = torch_model.get_input_embeddings().weight.detach().numpy()
    (table,) = tables
    whole.tofile(path.with_name(FILE))
    table.dims[0] = len(whole)
    table.raw_data = b""
    set_external_data(table, FILE)
    # What set_external_data checks and nothing reads.
    table.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return True


def _looked_up(model: ModelProto) -> list[TensorProto]:
    names = [
        node.input[0]
        for node in model.graph.node
        if node.op_type == "Gather" and node.input[1] == "input_ids"
    ]
    readers = [name for node in model.graph.node for name in node.input if name in names]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    return [tensors[name] for name in names if name in tensors and readers.count(name) == 1]
