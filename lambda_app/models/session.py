"""onnxruntime sessions over memory-mapped weights; the only module that knows onnxruntime."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Mapping

import numpy as np
import onnxruntime as ort

from lambda_app.bundle import ModelInfo
from lambda_app.errors import BundleError, InferenceError
from lambda_app.models.weights import WeightsReader

# Takes the name of a log line, and its message.
Warn = Callable[[str, str], None]


# About as long as the operators that run on one thread take.
_SPIN_MICROSECONDS = "50"


class LatencyEstimate:
    """Estimates how long inference takes, so that no batch is begun that cannot end in time.

    A process that was frozen in the middle of a batch measures nonsense, and one such measurement must not
    refuse all work ever after: the last batch counts for no more than a few times the fastest, and the first
    batch of a request goes by the fastest.
    """

    MAX_RATIO = 4.0

    def __init__(self) -> None:
        self._fastest = 0.0
        self._last = 0.0

    def add(self, tokens: int, seconds: float) -> None:
        """Takes note of a batch of ``tokens``, padding included."""
        self._last = seconds / tokens
        self._fastest = min(self._fastest or self._last, self._last)

    def seconds(self, tokens: int, *, at_best: bool = False) -> float:
        """Returns the seconds that a batch will take; 0 before the first that was measured."""
        return tokens * (self._fastest if at_best else min(self._last, self.MAX_RATIO * self._fastest))


class Session:
    """A graph ready to run, over one mapping of its weights, which onnxruntime reads straight from."""

    def __init__(
        self,
        model: ModelInfo,
        *,
        threads: int,
        prepack: bool,
        spin: bool,
        repack_tokens: int | None,
        warn: Warn | None = None,
    ) -> None:
        self.latency = LatencyEstimate()
        self._model = model
        self._threads = threads
        self._warn = warn
        # Kept for as long as the session: nothing else holds the mapping.
        try:
            self._weights = _map_weights(model)
            self._reader = WeightsReader(model)
        except Exception as error:  # as many kinds as ways to be damaged
            raise BundleError(_message(model, "the weights cannot be mapped for", error)) from error
        self._session = self._open(prepack=prepack, spin=spin)
        self._output = self._session.get_outputs()[0].name
        # Tokens until it pays to repack; None when that is done, or never to be.
        self._until_repacking = None if prepack else repack_tokens

    def run(self, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The graph's one output, float32.

        Raises:
            InferenceError: the output holds a value that is not finite.
        """
        self._reader.ask_for_weights()
        self._reader.ask_for_rows(inputs["input_ids"])
        output: np.ndarray = self._session.run([self._output], dict(inputs))[0]
        if not np.isfinite(output).all():
            raise InferenceError("the model produced a value that is not finite")
        return output

    def begin(self) -> None:
        """Says that an inference is coming, as early as that is known: its weights are asked for."""
        self._reader.ask_for_weights()

    def expect(self, tokens: int) -> None:
        """Says how many tokens are about to be run; past ``repack_tokens`` in all, the weights are repacked.

        A session over weights as they lie in the file opens in milliseconds and owns next to no memory, and
        suits a request for one embedding. Repacked weights make each inference 10 to 20% faster, for a
        tenth of a second once and a second copy of them. From then on threads also wait a moment for the
        next operator instead of sleeping at once: 7 to 15% of a short text's time, and no CPU while idle.
        """
        if self._until_repacking is None:
            return
        self._until_repacking -= tokens
        if self._until_repacking < 0:
            self._until_repacking = None
            try:
                self._session = self._open(prepack=True, spin=True)
            except BundleError as error:  # the session that is open serves as well, only slower
                if self._warn is not None:
                    self._warn("repack_failed", error.message)

    def _open(self, *, prepack: bool, spin: bool) -> ort.InferenceSession:
        options = ort.SessionOptions()
        # The graph was optimised at build time.
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A spinning thread burns the CPU share that the other work of a cold start needs. Later it saves
        # waking the other threads for each operator of an inference.
        options.add_session_config_entry("session.intra_op.allow_spinning", str(int(spin)))
        options.add_session_config_entry("session.intra_op.spin_duration_us", _SPIN_MICROSECONDS)
        if not prepack:
            options.add_session_config_entry("session.disable_prepacking", "1")
        for tensor, value in zip(self._model.tensors, self._weights, strict=True):
            options.add_initializer(tensor.name, value)
        try:
            return ort.InferenceSession(
                str(self._model.graph_path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises its own unrelated classes, one per status code
            raise BundleError(_message(self._model, "onnxruntime cannot open", error)) from error


def open_session(
    model: ModelInfo,
    *,
    threads: int,
    prepack: bool | None = None,
    repack_tokens: int | None = None,
    warn: Warn | None = None,
) -> Session:
    """Opens a model of the bundle with ``threads`` inference threads.

    All weights come from one mapping of ``model.bin``: nothing is copied, pages are read when an inference
    touches them, and lookup tables are marked as randomly read, or the kernel's read-ahead would fetch rows
    that no request needs. ``prepack`` overrides the bundle's own choice: True is for a process that opens
    its models ahead of requests. See :meth:`Session.expect` for ``repack_tokens``. ``warn`` is called when
    repacking fails.

    Raises:
        BundleError: onnxruntime cannot open the graph.
    """
    chosen = model.quantization.prepack if prepack is None else prepack
    return Session(
        model,
        threads=threads,
        prepack=chosen,
        spin=prepack is True,
        repack_tokens=repack_tokens,
        warn=warn,
    )


def _message(model: ModelInfo, what: str, error: Exception) -> str:
    """The message of a failure, without the place of the bundle."""
    reason = str(error).replace(f"{model.directory.parent}/", "")
    return f"{what} {model.task}/{model.graph_path.name}: {reason[:500]}"


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
