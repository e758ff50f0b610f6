"""What flows through the FP32 graph on the calibration texts: the inputs of its large products.

Quantization looks at activations, not only at weights: which channels are large, and which directions in the
weights matter. The texts are not those of the parity gate, so a build is judged on what it was not fitted to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from tokenizers import Tokenizer

from builder.graph.pieces import cut, run
from lambda_app.bundle import Task

TEXTS = Path(__file__).parents[1] / "data" / "calibration_texts.tsv"
# About what the function runs at once.
BATCH_TOKENS = 1024
# Activations kept in memory at once, as float32: about a layer's, in a large model.
_PIECE_BYTES = 192 << 20
_LONG_TEXTS = 4
# Rows that errors are estimated on; weights are rounded for all of them.
_SAMPLE = 768

Batch = dict[str, NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Activation:
    """A tensor on all calibration texts.

    ``rows`` is (tokens, channels) without padding. Without ``by_token`` there is a row for each text, as
    behind the pooling.
    """

    rows: NDArray[np.float32]
    by_token: bool = True

    def sample(self) -> Activation:
        """Returns it with some of its rows, from short texts and long ones."""
        return replace(self, rows=sample(self.rows))


def sample(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns as many rows as errors are estimated on."""
    return rows[:: max(1, len(rows) // _SAMPLE)]


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
        items: list[Any] = list(zip(texts[::2], texts[1::2], strict=False))
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
    graph: Path, widths: Mapping[str, int], batches: Sequence[Batch]
) -> Iterator[tuple[str, Activation]]:
    """Runs the graph on all batches and gives each of its tensors in ``widths`` (name to channels)."""
    masks = [batch["attention_mask"].astype(bool) for batch in batches]
    tokens = sum(int(mask.sum()) for mask in masks)
    sizes = {name: width * tokens * 4 for name, width in widths.items()}
    model = onnx.load(str(graph), load_external_data=False)
    for piece, made in run(graph, model, cut(model.graph, sizes, _PIECE_BYTES), batches):
        rows: dict[str, list[NDArray[np.float32]]] = {name: [] for name in piece.wanted}
        by_token = dict.fromkeys(piece.wanted, True)
        for mask, values in zip(masks, made, strict=True):
            for name, value in values.items():
                by_token[name] &= value.shape[:2] == mask.shape
                rows[name].append(value[mask] if by_token[name] else value.reshape(-1, value.shape[-1]))
        for name in piece.wanted:
            yield name, Activation(np.concatenate(rows.pop(name)), by_token[name])


def _padded(rows: Sequence[Sequence[int]], width: int, value: int) -> NDArray[np.int64]:
    return np.array([[*row, *[value] * (width - len(row))] for row in rows], np.int64)
