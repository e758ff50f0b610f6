"""onnxruntime sessions over memory-mapped weights; the only module that knows onnxruntime."""

from __future__ import annotations

import mmap
from collections.abc import Mapping

import numpy as np
import onnxruntime as ort

from lambda_app.bundle import ModelInfo
from lambda_app.errors import BundleError, InferenceError


class Session:
    """A graph ready to run. Keeps the mapping of its weights alive: onnxruntime reads straight from it."""

    def __init__(self, session: ort.InferenceSession, weights: list[ort.OrtValue], output: str) -> None:
        self._session = session
        self._weights = weights
        self._output = output

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The graph's one output, float32.

        Raises:
            InferenceError: the output holds a value that is not finite.
        """
        output: np.ndarray = self._session.run([self._output], dict(inputs))[0]
        if not np.isfinite(output).all():
            raise InferenceError("the model produced a value that is not finite")
        return output


def open_session(model: ModelInfo, *, threads: int, prepack: bool | None = None) -> Session:
    """Opens a model of the bundle with ``threads`` inference threads.

    The graph was optimised at build time, so nothing is optimised here. All weights come from one mapping of
    ``model.bin``: nothing is copied, pages are read when an inference touches them, and lookup tables are
    marked as randomly read, or the kernel's read-ahead would fetch rows nobody asked for. ``prepack``
    overrides the bundle's own choice.

    Raises:
        BundleError: onnxruntime cannot open the graph.
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # A spinning thread burns the CPU share that the other work of a cold start needs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not (model.quantization.prepack if prepack is None else prepack):
        options.add_session_config_entry("session.disable_prepacking", "1")
    weights = _map_weights(model)
    for tensor, value in zip(model.tensors, weights, strict=True):
        options.add_initializer(tensor.name, value)
    try:
        session = ort.InferenceSession(str(model.graph_path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own unrelated classes, one per status code
        raise BundleError(f"onnxruntime cannot open {model.role}/{model.graph_path.name}: {error}") from error
    return Session(session, weights, session.get_outputs()[0].name)


def _map_weights(model: ModelInfo) -> list[ort.OrtValue]:
    with model.weights_path.open("rb") as stream:
        mapping = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    values = []
    for tensor in model.tensors:
        if tensor.sparse:
            start = tensor.offset - tensor.offset % mmap.PAGESIZE
            mapping.madvise(mmap.MADV_RANDOM, start, tensor.offset + tensor.bytes - start)
        dtype = np.dtype(tensor.dtype)
        array = np.frombuffer(mapping, dtype, count=tensor.bytes // dtype.itemsize, offset=tensor.offset)
        values.append(ort.OrtValue.ortvalue_from_numpy(array.reshape(tensor.shape)))
    return values
