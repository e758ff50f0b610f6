"""The table of word embeddings goes around the exporter, whole."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from builder.graph.export import export_model, finish_graph
from builder.graph.reference import load_torch_model
from builder.graph.word_table import FILE, first_rows, put_back
from tests.support.tiny_models import HIDDEN
from tests.support.tiny_sources import TinySources


def test_a_graph_has_the_whole_table_and_the_exporter_had_its_first_rows(
    tiny_sources: TinySources, tmp_path: Path
) -> None:
    model = load_torch_model(tiny_sources.xlmr_reranker, "reranker")
    words = model.get_input_embeddings().weight.detach().numpy()
    vocabulary = model.config.vocab_size
    with first_rows(model) as rows:
        assert model.get_input_embeddings().weight.shape == (rows, HIDDEN)
        assert model.get_input_embeddings().padding_idx < rows < len(words)
    assert model.config.vocab_size == vocabulary
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, of itself
        path = export_model(model, "reranker", tmp_path)
    assert path.with_name(FILE).stat().st_size == words.nbytes
    graph = finish_graph(path, "reranker", None, HIDDEN)
    assert not path.with_name(FILE).exists()
    tables = [numpy_helper.to_array(one) for one in graph.graph.initializer if one.dims[:1] == [vocabulary]]
    assert len(tables) == 1
    np.testing.assert_array_equal(tables[0], words)


class Words:
    """A model as far as its table goes."""

    def __init__(self, count: int) -> None:
        self.words = torch.nn.Embedding(count, 4)

    def get_input_embeddings(self) -> torch.nn.Embedding:
        return self.words


def written(path: Path, rows: int, lookups: int) -> None:
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], [f"y{index}"], f"lookup{index}")
        for index in range(lookups)
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["batch", "seq"])],
        [helper.make_tensor_value_info(f"y{index}", TensorProto.FLOAT, None) for index in range(lookups)],
        [numpy_helper.from_array(np.zeros((rows, 4), np.float32), "table")],
    )
    onnx.save_model(helper.make_model(graph), str(path))


def test_a_table_that_is_looked_up_twice_is_left_to_the_exporter(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    written(path, 64, 2)
    before = path.read_bytes()
    assert not put_back(path, Words(100), 64)
    assert path.read_bytes() == before
    written(path, 64, 1)
    assert put_back(path, Words(100), 64)
    assert onnx.load(str(path)).graph.initializer[0].dims == [100, 4]
