"""What runs in the tokenizers library; the only module that imports it, and only when a text needs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.normalizers import BertNormalizer

from lambda_app.models.tokenizer.pretokenize import metaspace_words


class HuggingFaceBackend:
    """Tokenizes with the tokenizers library."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Take over a tokenizer: no truncation, no padding, and control tokens in a text are text."""
        tokenizer.no_truncation()
        tokenizer.no_padding()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    def __call__(
        self, texts: Sequence[str], limit: int, tick: Callable[[], None] | None = None
    ) -> list[list[int]]:
        """Token ids of texts, uncut."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def preload(self) -> None:
        """Nothing is left to load."""


def read_tokenizer(path: Path) -> Tokenizer:
    """The library's tokenizer of a JSON file.

    Raises:
        OSError: the file is missing.
        ValueError: the library cannot read it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(f"{path}: {error}") from error


def unigram_splitter(path: Path, *, split_whitespace: bool) -> Callable[[str], list[str]]:
    """Returns a function from text to words, as the normalizer in ``path`` and its Metaspace split it.

    See ``metaspace_words``. Errors as ``read_tokenizer``.
    """
    normalizer = read_tokenizer(path).normalizer
    if normalizer is None:
        return partial(metaspace_words, split_whitespace=split_whitespace)
    return lambda text: metaspace_words(normalizer.normalize_str(text), split_whitespace=split_whitespace)


def wordpiece_splitter(normalizer: Mapping[str, Any], pattern: str) -> Callable[[str], list[str]]:
    """Returns a function from text to words, as BERT's normalizer and pre-tokenizer split it.

    It runs BertNormalizer with the settings of a ``tokenizer.json``, then takes every match of ``pattern``,
    which does what BertPreTokenizer does.
    """
    settings = {name: value for name, value in normalizer.items() if name != "type"}
    normalize = BertNormalizer(**settings).normalize_str
    words = re.compile(pattern).findall
    return lambda text: words(normalize(text))
