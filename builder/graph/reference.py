"""The PyTorch model: what is exported, and what the bundle's answers are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer
from transformers import AutoModel, AutoModelForSequenceClassification

from builder.checks.modules import read_modules
from builder.errors import ExportError, ModelMismatchError
from builder.graph.head import DenseLayer
from builder.sources.files import WEIGHTS
from lambda_app.bundle import Task

BATCH = 16

# A checkpoint may lack these because nothing here uses them; anything else missing would be random numbers.
_UNUSED: dict[Task, tuple[str, ...]] = {
    "embedding": ("pooler.", "position_ids"),
    "reranker": ("position_ids",),
}
_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "gelu": torch.nn.functional.gelu,
}


def load_torch_model(directory: Path, task: Task) -> Any:
    """The model of a Hugging Face directory in FP32, from safetensors only and without remote code.

    Raises:
        ModelMismatchError: the checkpoint has not all the weights of the model.
        ExportError: transformers cannot load it.
    """
    auto = AutoModel if task == "embedding" else AutoModelForSequenceClassification
    try:
        model, info = auto.from_pretrained(
            str(directory),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            # The fusions of onnxruntime's optimizer know the eager attention's graph.
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ExportError(f"transformers cannot load the {task} model: {_first_line(error)}") from error
    missing = sorted(key for key in info["missing_keys"] if not any(part in key for part in _UNUSED[task]))
    if missing:
        raise ModelMismatchError(
            f"the {task} model's weights lack {missing[0]!r} (and {len(missing) - 1} more): "
            "its config.json describes another model than its safetensors hold; take both from one revision, "
            "and a model that was trained for this task",
            code="wrong_task",
        )
    return model.eval()


def load_dense(directory: Path) -> list[DenseLayer]:
    """The Dense layers that a model's ``modules.json`` names, in their order.

    Raises:
        ModelMismatchError, SourceError: as :func:`read_modules`.
    """
    modules = read_modules(directory, directory.name)
    layers = []
    for dense in modules.dense if modules is not None else ():
        tensors = load_file(directory / dense.path / WEIGHTS)
        bias = tensors.get("linear.bias")
        layers.append(
            DenseLayer(
                weight=tensors["linear.weight"].float().numpy(),
                bias=None if bias is None else bias.float().numpy(),
                activation=dense.activation,
            )
        )
    return layers


class Reference:
    """Runs the PyTorch model on texts tokenized by the tokenizers library, as the function is meant to."""

    def __init__(self, model: Any, tokenizer_json: Path, *, max_tokens: int, pad_token_id: int) -> None:
        """Opens the tokenizer of a PyTorch model, with the function's truncation."""
        self._model = model
        self._tokenizer = Tokenizer.from_file(str(tokenizer_json))
        # Pairs are cut the way the function cuts them: the longer of the two first.
        self._tokenizer.enable_truncation(max_tokens, strategy="longest_first")
        self._tokenizer.no_padding()
        # Special-token text in a user's input is plain text.
        self._tokenizer.encode_special_tokens = True
        self._pad = pad_token_id
        self._token_types = getattr(model.config, "type_vocab_size", 0) > 1

    def embed(
        self, texts: Sequence[str], pooling: str, dense: Sequence[DenseLayer] = ()
    ) -> NDArray[np.float32]:
        """Returns L2-normalised vectors, (texts, dimensions)."""
        encodings = self._tokenizer.encode_batch(list(texts))
        out: NDArray[np.float32] | None = None
        for rows, inputs in self._batches(encodings):
            hidden = self._model(**inputs).last_hidden_state
            pooled = pool(hidden, inputs["attention_mask"], pooling)
            for layer in dense:
                pooled = _apply(layer, pooled)
            vectors = torch.nn.functional.normalize(pooled, dim=-1).numpy()
            if out is None:
                out = np.empty((len(texts), vectors.shape[1]), np.float32)
            out[rows] = vectors
        return np.empty((0, 0), np.float32) if out is None else out

    def score(self, query: str, documents: Sequence[str]) -> NDArray[np.float32]:
        """Returns raw logits of a query with each document, (documents,)."""
        encodings = self._tokenizer.encode_batch([(query, document) for document in documents])
        out = np.empty(len(documents), np.float32)
        for rows, inputs in self._batches(encodings):
            out[rows] = self._model(**inputs).logits[:, 0].numpy()
        return out

    def _batches(self, encodings: Sequence[Encoding]) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
        order = sorted(range(len(encodings)), key=lambda row: len(encodings[row].ids))
        with torch.inference_mode():
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                chosen = [encodings[row] for row in rows]
                width = max(len(encoding.ids) for encoding in chosen)
                inputs = {
                    "input_ids": _padded([encoding.ids for encoding in chosen], width, self._pad),
                    "attention_mask": _padded([encoding.attention_mask for encoding in chosen], width, 0),
                }
                if self._token_types:
                    inputs["token_type_ids"] = _padded([encoding.type_ids for encoding in chosen], width, 0)
                yield rows, inputs


def pool(hidden: torch.Tensor, mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """(batch, seq, hidden) to (batch, hidden); tokens whose mask is 0 take no part."""
    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "last":
        return hidden[torch.arange(hidden.shape[0]), mask.sum(dim=1) - 1]
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _apply(layer: DenseLayer, vectors: torch.Tensor) -> torch.Tensor:
    bias = None if layer.bias is None else torch.from_numpy(layer.bias)
    linear = torch.nn.functional.linear(vectors, torch.from_numpy(layer.weight), bias)
    return _ACTIVATIONS[layer.activation](linear)


def _padded(rows: Sequence[Sequence[int]], width: int, value: int) -> torch.Tensor:
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=torch.int64)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
