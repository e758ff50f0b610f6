"""Proves that a compiled tokenizer and the tokenizers library give the same ids."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from tokenizers import Tokenizer as LibraryTokenizer

from builder.tokenizer.control_tokens import control_pieces, with_control_tokens_hidden
from lambda_app.models.tokenizer.load import TokenizerFiles, load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Encoding, Tokenizer

_CHUNK = 64
# Tokens of text, in turn for each chunk, next to the full length.
_SHORT_LENGTHS = (0, 1, 2, 9, 32, 61, 128)


@dataclass(frozen=True, slots=True)
class TokenizerParity:
    """How many texts and pairs were compared, up to the first difference if there is one."""

    texts: int
    pairs: int
    first_difference: str | None


def verify_tokenizer(
    model: TokenizerFiles,
    reference_tokenizer_json: Path,
    texts: Iterable[str],
    pairs: Iterable[tuple[str, str]],
    max_tokens: int,
) -> TokenizerParity:
    """Compare ids, segment ids and truncation of the runtime with those of the library on the original file.

    Every text and pair is compared at ``max_tokens`` and at one shorter length, odd and even ones in turn.
    Where the original reads control tokens out of the text, the reference is the original with its control
    pieces hidden. Stops at the first difference, which the result describes.
    """
    tokenizer = load_tokenizer(model)
    reference = _Reference(reference_tokenizer_json)
    counts = [0, 0]
    inputs: tuple[Iterable[str | tuple[str, str]], ...] = (texts, pairs)
    short = cycle(_SHORT_LENGTHS)
    for which, items in enumerate(inputs):
        iterator = iter(items)
        while chunk := list(islice(iterator, _CHUNK)):
            counts[which] += len(chunk)
            difference = _first_difference(tokenizer, reference, chunk, max_tokens, next(short))
            if difference:
                return TokenizerParity(counts[0], counts[1], difference)
    return TokenizerParity(counts[0], counts[1], None)


class _Reference:
    """The library on the original file, as it is and with its control tokens hidden."""

    def __init__(self, path: Path) -> None:
        self.original = LibraryTokenizer.from_file(str(path))
        specification = json.loads(self.original.to_str())
        self.plain = LibraryTokenizer.from_str(json.dumps(with_control_tokens_hidden(specification)))
        self.plain.encode_special_tokens = True
        for library in (self.original, self.plain):
            library.no_truncation()
            library.no_padding()
        self._control = control_pieces(specification)

    def spells_control(self, text: str) -> bool:
        """Whether the original would read a control token out of a text."""
        normalizer = self.original.normalizer
        normalized = normalizer.normalize_str(text) if normalizer else text
        return any(name in text or name in normalized for name in self._control)


def _first_difference(
    tokenizer: Tokenizer,
    reference: _Reference,
    chunk: Sequence[str | tuple[str, str]],
    max_tokens: int,
    short: int,
) -> str | None:
    plain = reference.plain
    plain.no_truncation()
    uncut = plain.encode_batch_fast(chunk)
    for item, one, other in zip(chunk, uncut, reference.original.encode_batch_fast(chunk), strict=True):
        texts = (item,) if isinstance(item, str) else item
        if one.ids != other.ids and not any(map(reference.spells_control, texts)):
            return f"{item!r} has no control token, but hiding those changes {other.ids} to {one.ids}"
    short += plain.num_special_tokens_to_add(not isinstance(chunk[0], str))
    for length in (max_tokens, min(short, max_tokens)):
        plain.enable_truncation(length)
        for item, whole, expected in zip(chunk, uncut, plain.encode_batch_fast(chunk), strict=True):
            if isinstance(item, str):
                found = tokenizer.encode_batch([item], length)[0]
            else:
                found = tokenizer.encode_pairs(item[0], [item[1]], length)[0]
            if found != Encoding(expected.ids, expected.type_ids, len(whole.ids) > length):
                return f"{item!r} cut to {length}: expected {expected.ids} {expected.type_ids}, found {found}"
    return None
