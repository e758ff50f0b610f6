"""Compiles a ``tokenizer.json`` into files that open without being parsed.

A tokenizer that cannot be compiled exactly stays with the tokenizers library.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as LibraryTokenizer

from builder.tokenizer.control_tokens import reads_control_tokens, with_control_tokens_hidden
from builder.tokenizer.unigram import unigram_obstacle, write_unigram
from builder.tokenizer.wordpiece import wordpiece_obstacle, write_wordpiece
from lambda_app.bundle import TOKENIZER_JSON, WORDPIECE_JSON, TokenizerKind
from lambda_app.models.tokenizer.templates import parse_templates
from lambda_app.models.tokenizer.vocabulary import TABLE_FILE, TRIE_FILE

_COMPILED = (TRIE_FILE, TABLE_FILE, WORDPIECE_JSON)


@dataclass(frozen=True, slots=True)
class CompileResult:
    """What was written: ``reason`` says why a tokenizer stayed with the library; ``bytes`` of all files."""

    kind: TokenizerKind
    reason: str
    pieces: int
    bytes: int


def compile_tokenizer(source_tokenizer_json: Path, out_dir: Path) -> CompileResult:
    """Write the tokenizer files of a model into ``out_dir``; the same source gives the same bytes.

    ``tokenizer.json`` is one of them for every kind. It is whole, truncation and padding aside, but for
    Unigram: there it is without its vocabulary, which is most of 17 MB in XLM-R's.

    Raises:
        ValueError: the runtime could not open the tokenizer, compiled or not (see ``parse_templates``).
    """
    library = LibraryTokenizer.from_file(str(source_tokenizer_json))
    specification: dict[str, Any] = json.loads(library.to_str())
    specification["truncation"] = specification["padding"] = None
    parse_templates(specification["post_processor"])
    out_dir.mkdir(parents=True, exist_ok=True)
    for name in _COMPILED:
        (out_dir / name).unlink(missing_ok=True)
    pieces = library.get_vocab_size(with_added_tokens=False)
    kind, reason = _kind(specification)
    if kind == "unigram":
        specification = write_unigram(specification, out_dir)
    elif kind == "wordpiece":
        write_wordpiece(specification, out_dir)
    elif reads_control_tokens(specification):
        specification = with_control_tokens_hidden(specification)
        reason += "; its control tokens are renamed, or text could spell them"
    (out_dir / TOKENIZER_JSON).write_text(json.dumps(specification, ensure_ascii=False), encoding="utf-8")
    files = [path for name in (TOKENIZER_JSON, *_COMPILED) if (path := out_dir / name).exists()]
    return CompileResult(kind, reason, pieces, sum(path.stat().st_size for path in files))


def _kind(specification: dict[str, Any]) -> tuple[TokenizerKind, str]:
    """How a tokenizer is to be run, and for ``library`` why."""
    model: str = specification["model"]["type"]
    if model == "Unigram":
        reason = unigram_obstacle(specification)
        return ("library", reason) if reason else ("unigram", "")
    if model == "WordPiece":
        reason = wordpiece_obstacle(specification)
        return ("library", reason) if reason else ("wordpiece", "")
    return "library", f"the model is {model}"
