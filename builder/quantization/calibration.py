"""What flows through the FP32 graph on the calibration texts: the inputs of its large products.

Quantization looks at activations, not only at weights: which channels are large, and which directions in the
weights matter. The texts are not those of the parity gate, so a build is judged on what it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from lambda_app.bundle import Task

TEXTS = Path(__file__).parents[1] / "data" / "calibration_texts.tsv"
# About what the function runs at once.
BATCH_TOKENS = 1024
# Activations kept in memory at once, as float32; a large model is run several times.
_CHUNK_BYTES = 768 << 20
_LONG_TEXTS = 4

Batch = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Activation:
    """A tensor on all calibration texts.

    ``rows`` is (tokens, channels) without padding. Without ``by_token`` there is a row for each text, as
    behind the pooling.
    """

    rows: NDArray[np.float32]
    by_token: bool = True

    def thinned(self, every: int) -> Activation:
        """Returns it with one row in ``every``."""
        return replace(self, rows=self.rows[::every])


def calibration_texts() -> list[str]:
    """Returns the calibration sentences, and a few long texts made of them."""
    lines = TEXTS.read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t", 1)[1] for line in lines if line and not line.startswith("#")]
    return [*texts, *(" ".join(texts[start::19] * 2) for start in range(_LONG_TEXTS))]


def calibration_batches(
    tokenizer_json: Path, task: Task, *, prompts: Sequence[str], max_tokens: int, pad_token_id: int
) -> list[Batch]:
    """Returns the calibration texts as a model takes them.

    Each is behind one of ``prompts`` in turn, or texts are pairs for a cross-encoder. ``token_type_ids`` are
    there for those graphs that want them.
    """
    tokenizer = Tokenizer.from_file(str(tokenizer_json))
    tokenizer.enable_truncation(max_tokens, strategy="longest_first")
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    texts = calibration_texts()
    if task == "reranker":
        # The next sentence is often of the same subject, the one in the middle of the file never.
        half = len(texts) // 2
        items: list[Any] = list(pairwise(texts))
        items += zip(texts[:half:4], texts[half::4], strict=False)
    else:
        beginnings = list(dict.fromkeys(prompts)) or [""]
        items = [beginnings[index % len(beginnings)] + text for index, text in enumerate(texts)]
    encodings = sorted(tokenizer.encode_batch(items), key=lambda one: -len(one.ids))
    batches: list[Batch] = []
    while encodings:
        width = len(encodings[0].ids)
        count = max(1, BATCH_TOKENS // width)
        taken, encodings = encodings[:count], encodings[count:]
        batches.append(
            {
                "input_ids": _padded([one.ids for one in taken], width, pad_token_id),
                "attention_mask": _padded([one.attention_mask for one in taken], width, 0),
                "token_type_ids": _padded([one.type_ids for one in taken], width, 0),
            }
        )
    return batches


def activations(
    graph: Path, widths: dict[str, int], batches: Sequence[Batch]
) -> Iterator[tuple[str, Activation]]:
    """Runs the graph on all batches and gives each of its tensors in ``widths`` (name to channels)."""
    tokens = sum(int(batch["attention_mask"].sum()) for batch in batches)
    pending = list(widths)
    while pending:
        chunk: list[str] = []
        free = _CHUNK_BYTES
        while pending and (not chunk or free >= widths[pending[0]] * tokens * 4):
            free -= widths[pending[0]] * tokens * 4
            chunk.append(pending.pop(0))
        yield from _run(graph, chunk, batches)


def _run(graph: Path, names: Sequence[str], batches: Sequence[Batch]) -> Iterator[tuple[str, Activation]]:
    session = _session_with_outputs(graph, names)
    wanted = {value.name for value in session.get_inputs()}
    rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    by_token = dict.fromkeys(names, True)
    for batch in batches:
        inputs = {name: value for name, value in batch.items() if name in wanted}
        mask = batch["attention_mask"].astype(bool)
        for name, value in zip(names, session.run(list(names), inputs), strict=True):
            by_token[name] &= value.shape[:2] == mask.shape
            flat = value.reshape(-1, value.shape[-1])
            rows[name].append(flat[mask.reshape(-1)] if by_token[name] else flat)
    for name in names:
        yield name, Activation(np.concatenate(rows.pop(name)), by_token[name])


def _session_with_outputs(graph: Path, names: Sequence[str]) -> onnxruntime.InferenceSession:
    """A session over a graph whose inner tensors are outputs; the weights' file is shared."""
    model = onnx.load(str(graph), load_external_data=False)
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    path = graph.with_name(f"{graph.stem}.calibration.onnx")
    path.write_bytes(model.SerializeToString())
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    path.unlink()
    return session


def _padded(rows: Sequence[Sequence[int]], width: int, value: int) -> NDArray[np.int64]:
    return np.array([[*row, *[value] * (width - len(row))] for row in rows], np.int64)
