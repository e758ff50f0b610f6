"""Weights of a model and its vocabulary, asked for before its first inferences need them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from lambda_app.coldstart.read_ahead import PAGE_BYTES, ReadAhead

if TYPE_CHECKING:
    import numpy as np

    from lambda_app.bundle import ModelInfo, Tensor

# Files that a compiled tokenizer maps.
VOCABULARY = (".marisa", ".npy")


class WeightsReader:
    """Asks for a model's weights, and the vocabulary of its tokenizer, before its first inferences need them.

    An inference reads dense weights one after another, and of each lookup table the rows of its tokens: asked
    for all at once, chunks of an image that have not arrived yet arrive side by side.
    """

    # Tokens after which rows are no longer asked for: by then most of what a language uses is in memory.
    ROW_TOKENS = 4_096

    def __init__(self, model: ModelInfo) -> None:
        self._file = ReadAhead(model.weights_path)
        # What the tokenizer looks words up in; init reads a few pages of it.
        self._vocabulary = [
            (model.directory.parent / file.path, file.bytes)
            for file in model.files
            if file.path.endswith(VOCABULARY)
        ]
        dense = [tensor for tensor in model.tensors if not tensor.sparse]
        self._start = min((tensor.offset for tensor in dense), default=0)
        self._end = max((tensor.offset + tensor.bytes for tensor in dense), default=0)
        self._tables = _word_tables(model.tensors)
        self._asked = False
        self._until_known = self.ROW_TOKENS

    def ask_for_weights(self) -> None:
        """Asks for the vocabulary and the dense weights, the first time; returns at once."""
        if self._asked:
            return
        self._asked = True
        if self._end and not self._file.is_resident(self._start, self._end):
            # The kernel's queue of requests is bounded: who asks for much may have to wait for a place in it.
            threading.Thread(target=self._ask, daemon=True).start()

    def _ask(self) -> None:
        # The vocabulary first: a request's texts are tokenized before anything is run.
        for path, size in self._vocabulary:
            ReadAhead(path).range(0, size)
        self._file.range(self._start, self._end)

    def ask_for_rows(self, ids: np.ndarray) -> None:
        """Asks for the rows of token ``ids`` (any shape) in the tables of word embeddings."""
        if self._until_known <= 0:
            return
        self._until_known -= ids.size
        # Not numpy's unique: it imports a package that the image leaves out.
        rows = set(ids.ravel().tolist())
        for offset, row_bytes in self._tables:
            firsts = [offset + row * row_bytes for row in rows]
            pages = {place // PAGE_BYTES for first in firsts for place in (first, first + row_bytes - 1)}
            self._file.pages(page * PAGE_BYTES for page in sorted(pages))


def _word_tables(tensors: tuple[Tensor, ...]) -> list[tuple[int, int]]:
    """(offset, bytes of a row) of the lookup tables with a row for each token: those with the most rows."""
    tables = [tensor for tensor in tensors if tensor.sparse and tensor.shape]
    count = max((tensor.shape[0] for tensor in tables), default=0)
    return [(tensor.offset, tensor.bytes // count) for tensor in tables if tensor.shape[0] == count]
