"""Opens a model's tokenizer.

There are three kinds. ``library`` runs the tokenizers library whole (``huggingface.py``). ``wordpiece`` and
``unigram`` search a compiled vocabulary (``wordpiece.py``, ``unigram.py``): at every cold start the library
would parse BERT's ``tokenizer.json`` for 25 ms, XLM-R's for about a second.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from lambda_app.bundle import TOKENIZER_JSON, WORDPIECE_JSON
from lambda_app.errors import BundleError
from lambda_app.models.tokenizer.templates import parse_templates
from lambda_app.models.tokenizer.tokenizer import Tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lambda_app.bundle import TokenizerKind
    from lambda_app.models.tokenizer.compiled import SplitWords
    from lambda_app.models.tokenizer.tokenizer import Decoder


T = TypeVar("T")


class TokenizerFiles(Protocol):
    """What is read of a model: its directory, and which kind of tokenizer was written there."""

    @property
    def directory(self) -> Path:
        """The model's directory in the bundle."""
        ...

    @property
    def tokenizer_kind(self) -> TokenizerKind:
        """The manifest's kind of tokenizer."""
        ...


def open_tokenizer(model: TokenizerFiles) -> Tokenizer:
    """As :func:`load_tokenizer`, for a model of the bundle.

    Raises:
        BundleError: a file is missing or damaged.
    """
    return _checked(model, partial(load_tokenizer, model))


def _checked(model: TokenizerFiles, load: Callable[[], T]) -> T:
    """What ``load`` gives. Damaged files fail in as many ways as they are read in: all become one error."""
    try:
        return load()
    except Exception as error:
        task = model.directory.name
        reason = str(error).replace(str(model.directory), task)[:300]
        raise BundleError(
            f"the tokenizer in {task}/ cannot be read ({type(error).__name__}: {reason}): rebuild the bundle"
        ) from error


def load_tokenizer(model: TokenizerFiles) -> Tokenizer:
    """Opens the tokenizer of a model: ``tokenizer.json``, or the vocabulary that was compiled from it.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not what its name says, or holds a post-processor that is not supported.
    """
    if model.tokenizer_kind == "unigram":
        return _load_unigram(model)
    if model.tokenizer_kind == "wordpiece":
        return _load_wordpiece(model)
    return _load_huggingface(model)


def _load_huggingface(model: TokenizerFiles) -> Tokenizer:
    # Imports tokenizers: 10-25 ms.
    from lambda_app.models.tokenizer.huggingface import HuggingFaceBackend, read_tokenizer

    path = model.directory / TOKENIZER_JSON
    library = read_tokenizer(path)
    post_processor = library.post_processor
    try:
        templates = parse_templates(post_processor and json.loads(post_processor.__getstate__()))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return Tokenizer(HuggingFaceBackend(library), *templates, partial(_load_decoder, model))


def _load_unigram(model: TokenizerFiles) -> Tokenizer:
    # These import numpy and marisa_trie, which the library's kind does without.
    from lambda_app.models.tokenizer.compiled import CompiledBackend
    from lambda_app.models.tokenizer.pretokenize import splits_whitespace
    from lambda_app.models.tokenizer.unigram import Unigram

    path = model.directory / TOKENIZER_JSON
    try:
        specification: Any = json.loads(path.read_bytes())
        templates = parse_templates(specification["post_processor"])
        split = splits_whitespace(specification["pre_tokenizer"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error!r}") from error

    def load_splitter() -> SplitWords:
        from lambda_app.models.tokenizer.huggingface import unigram_splitter

        return _checked(model, partial(unigram_splitter, path, split_whitespace=split))

    vocabulary = Unigram(model.directory)
    backend = CompiledBackend(vocabulary, vocabulary.split_ascii, load_splitter)
    return Tokenizer(backend, *templates, partial(_load_decoder, model))


def _load_wordpiece(model: TokenizerFiles) -> Tokenizer:
    from lambda_app.models.tokenizer.compiled import CompiledBackend
    from lambda_app.models.tokenizer.pretokenize import ascii_words
    from lambda_app.models.tokenizer.wordpiece import WordPiece, WordPieceSettings

    path = model.directory / WORDPIECE_JSON
    try:
        description: Any = json.loads(path.read_bytes())
        templates = parse_templates(description["post_processor"])
        normalizer, pattern = description["normalizer"], description["word_pattern"]
        split_ascii = partial(ascii_words, lowercase=normalizer["lowercase"])
        settings = WordPieceSettings(**description["pieces"])
        plain_ascii = description["plain_ascii"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: {error!r}") from error

    def load_splitter() -> SplitWords:
        from lambda_app.models.tokenizer.huggingface import wordpiece_splitter

        return _checked(model, partial(wordpiece_splitter, normalizer, pattern))

    vocabulary = WordPiece(model.directory, settings)
    backend = CompiledBackend(vocabulary, split_ascii if plain_ascii else None, load_splitter)
    return Tokenizer(backend, *templates, partial(_load_decoder, model))


def _load_decoder(model: TokenizerFiles) -> Decoder:
    from lambda_app.models.tokenizer.decode import load_decoder

    return _checked(model, partial(load_decoder, model.directory, model.tokenizer_kind))
