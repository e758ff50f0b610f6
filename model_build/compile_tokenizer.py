"""Compiles a Unigram ``tokenizer.json`` into files that open without being parsed, and proves them equal.

What cannot be compiled exactly stays with the tokenizers library. Scores are taken from the library's own
reading of the file, not from Python's: a float parsed one bit differently would decide some tie the other
way.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any, Literal

import marisa_trie
import numpy as np
from tokenizers import Tokenizer as LibraryTokenizer

from lambda_app.models.special_tokens import parse_frames
from lambda_app.models.tokenization import (
    TOKENIZER_JSON,
    Encoding,
    Tokenizer,
    TokenizerFiles,
    load_tokenizer,
    splits_whitespace,
)
from lambda_app.models.unigram import PIECES_TABLE, PIECES_TRIE, RECORD, TRAILER

_UNKNOWN_PENALTY = 10.0  # kUnkPenalty, unigram_model.cc of sentencepiece
_UNMATCHABLE = "\x00"  # requests with NUL are refused before they are tokenized
_CHUNK = 64
# Tokens of text, in turn for each chunk, next to the full length.
_SHORT_LENGTHS = (0, 1, 2, 9, 32, 61, 128)


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What was written: ``reason`` says why a tokenizer stayed with the library; ``bytes`` of all files."""

    kind: Literal["unigram", "library"]
    reason: str
    pieces: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TokenizerParity:
    """How many texts and pairs were compared, up to the first difference if there is one."""

    texts: int
    pairs: int
    first_difference: str | None


def compile_tokenizer(source_tokenizer_json: Path, out_dir: Path) -> CompileResult:
    """Write the tokenizer files of a model into ``out_dir``; the same source gives the same bytes.

    Raises:
        ValueError: the runtime could not open the tokenizer, compiled or not (see ``parse_frames``).
    """
    library = LibraryTokenizer.from_file(str(source_tokenizer_json))
    specification: dict[str, Any] = json.loads(library.to_str())
    specification["truncation"] = specification["padding"] = None
    parse_frames(specification["post_processor"])
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in (PIECES_TRIE, PIECES_TABLE):
        (out_dir / name).unlink(missing_ok=True)
    reason = _not_compilable(specification)
    if reason:
        if _reads_control_tokens(specification):
            specification = with_control_tokens_hidden(specification)
            reason += "; its control tokens are renamed, or text could spell them"
        pieces = library.get_vocab_size(with_added_tokens=False)
    else:
        pieces = _write_pieces(specification, out_dir)
        model = specification["model"]
        model["vocab"] = [[model["vocab"][model["unk_id"]][0], 0.0]]
        model["unk_id"] = 0
    (out_dir / TOKENIZER_JSON).write_text(json.dumps(specification, ensure_ascii=False), encoding="utf-8")
    written = sum(
        path.stat().st_size
        for name in (TOKENIZER_JSON, PIECES_TRIE, PIECES_TABLE)
        if (path := out_dir / name).exists()
    )
    return CompileResult("library" if reason else "unigram", reason, pieces, written)


def _not_compilable(specification: Mapping[str, Any]) -> str:
    """Why a tokenizer has to stay with the library; empty if it need not."""
    model = specification["model"]
    if model["type"] != "Unigram":
        return f"the model is {model['type']}"
    if set(model) - {"type", "unk_id", "vocab", "byte_fallback"}:
        return "the model has settings that are not known here"
    if model.get("byte_fallback"):
        return "the model falls back to bytes"
    if model.get("unk_id") is None:
        return "the model has no unknown token"
    if not all(token["special"] for token in specification["added_tokens"]):
        return "it has added tokens that are not special"
    scores = [score for _, score in model["vocab"]]
    if max(scores) > 0 or not all(piece for piece, _ in model["vocab"]):
        # above zero, two unknown characters could be worth more than the piece that they spell
        return "a piece is empty or has a score above zero"
    try:
        splits_whitespace(specification["pre_tokenizer"])
    except ValueError as error:
        return str(error)
    return ""


def _control_pieces(specification: Mapping[str, Any]) -> set[str]:
    """Pieces that no text may spell: special tokens and the unknown token, as in sentencepiece."""
    control = {token["content"] for token in specification["added_tokens"] if token["special"]}
    model = specification["model"]
    if model["type"] == "Unigram" and model.get("unk_id") is not None:
        control.add(model["vocab"][model["unk_id"]][0])
    return control


def _write_pieces(specification: Mapping[str, Any], out_dir: Path) -> int:
    vocabulary: list[tuple[str, float]] = specification["model"]["vocab"]
    control = _control_pieces(specification)
    # of a piece that is there twice the last one counts, as in the library
    pieces = {piece: (score, id_) for id_, (piece, score) in enumerate(vocabulary) if piece not in control}
    trie = marisa_trie.Trie(sorted(pieces))
    table = np.zeros(len(trie) + TRAILER, dtype=RECORD)
    for piece, record in pieces.items():
        table[trie.key_id(piece)] = record
    unknown_score = min(score for _, score in vocabulary) - _UNKNOWN_PENALTY
    table[-TRAILER] = (unknown_score, specification["model"]["unk_id"])
    table[-2] = (0.0, max(map(len, pieces), default=1))
    table[-1] = (0.0, _plain_ascii(specification))
    trie.save(str(out_dir / PIECES_TRIE))
    np.save(out_dir / PIECES_TABLE, table, allow_pickle=False)
    return len(vocabulary)


def _plain_ascii(specification: Mapping[str, Any]) -> bool:
    """Whether ASCII text without control characters is cut into the same words by ``str.split`` alone.

    Asked of the library itself: normalizers of these types look at a character and its neighbour, or at a run
    of spaces, so every pair of characters and every short run of the ones that matter answers for all text.
    """
    normalizer = specification["normalizer"]
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
    if not all(_is_local(step) for step in steps):
        return False
    model = {"type": "Unigram", "unk_id": 0, "vocab": [[_UNMATCHABLE, 0.0]], "byte_fallback": False}
    library = LibraryTokenizer.from_str(json.dumps({**specification, "model": model, "added_tokens": []}))
    alphabet = [chr(code) for code in range(32, 127)] + ["\t", "\n", "\r"]
    texts = ["".join(pair) for pair in product(alphabet, repeat=2)]
    texts += ["a" + pair + "b" for pair in texts]
    texts += ["".join(run) for length in range(6) for run in product(" \n\ra", repeat=length)]
    found = library.encode_batch(texts, add_special_tokens=False)
    return all(
        one.tokens == ["▁" + word for word in text.split()] for text, one in zip(texts, found, strict=True)
    )


def _is_local(step: Mapping[str, Any] | None) -> bool:
    if step is None or step["type"] in ("Precompiled", "Strip"):
        return True
    return (
        step["type"] == "Replace" and step["pattern"] == {"Regex": " {2,}"} and step["content"] in (" ", "▁")
    )


def with_control_tokens_hidden(specification: Mapping[str, Any]) -> dict[str, Any]:
    """The same tokenizer with its control pieces renamed, ids and scores kept, so that no text spells them.

    The unknown token of models that look it up by name keeps its name. Renamed tokens are no longer added
    tokens either: they would be given new ids, and push the ids of the others.
    """
    model = dict(specification["model"])
    control = _control_pieces(specification) - {model.get("unk_token")}

    def hide(piece: str) -> str:
        return _UNMATCHABLE + piece if piece in control else piece

    vocabulary = model["vocab"]
    if isinstance(vocabulary, dict):
        model["vocab"] = {hide(piece): id_ for piece, id_ in vocabulary.items()}
    else:
        model["vocab"] = [[hide(piece), score] for piece, score in vocabulary]
    hidden = control & set(vocabulary if isinstance(vocabulary, dict) else dict(vocabulary))
    added = [token for token in specification["added_tokens"] if token["content"] not in hidden]
    return {**specification, "model": model, "added_tokens": added}


def _reads_control_tokens(specification: Mapping[str, Any]) -> bool:
    """Whether text that spells a control token gets its id though the library was told otherwise."""
    library = LibraryTokenizer.from_str(json.dumps(specification))
    library.encode_special_tokens = True
    control = {token["content"]: token["id"] for token in specification["added_tokens"] if token["special"]}
    control.pop(specification["model"].get("unk_token"), None)
    forms = [form for name in control for form in (name, f"a {name} b", f"a{name}b")]
    found = library.encode_batch_fast(forms, add_special_tokens=False)
    return any(set(one.ids) & set(control.values()) for one in found)


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
        self._control = _control_pieces(specification)

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
