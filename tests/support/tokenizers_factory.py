"""Tiny tokenizers in the variants that tests need."""

import json
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from builder.tokenizer.compile import CompileResult, compile_tokenizer
from lambda_app.bundle import TokenizerKind
from scripts.dev.tiny_tokenizers import unigram_specification, wordpiece_specification

__all__ = ["unigram_specification", "wordpiece_specification"]

# Control tokens of all specifications.
CONTROL = ("<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")


@dataclass(frozen=True, slots=True)
class TokenizerModel:
    """As much of a bundle's model as a tokenizer reads."""

    directory: Path
    tokenizer_kind: TokenizerKind
    max_tokens: int = 512


def altered(specification: str, **changes: Any) -> str:
    """A specification with top-level entries replaced."""
    return json.dumps({**json.loads(specification), **changes}, ensure_ascii=False)


def with_added_token(specification: str, content: str, *, special: bool) -> str:
    """A specification with one more added token."""
    tokenizer = Tokenizer.from_str(specification)
    token = AddedToken(content, special=special)
    tokenizer.add_special_tokens([token]) if special else tokenizer.add_tokens([token])
    return str(tokenizer.to_str())


def written(specification: str, directory: Path) -> Path:
    """Write a specification as ``tokenizer.json`` in a directory made for it."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "tokenizer.json"
    path.write_text(specification, encoding="utf-8")
    return path


def library_specification() -> str:
    """Uncased BERT in a form that is not compiled."""
    normalizer = json.loads(wordpiece_specification())["normalizer"]
    steps = {"type": "Sequence", "normalizers": [normalizer]}
    return altered(wordpiece_specification(), normalizer=steps)


def build(specification: str, directory: Path) -> tuple[CompileResult, TokenizerModel, Path]:
    """Compile a specification; the result, the model, and the source."""
    source = written(specification, directory / "source")
    result = compile_tokenizer(source, directory / "out")
    return result, TokenizerModel(directory / "out", result.kind), source


def library_loads(model: TokenizerModel, *texts: str) -> list[bool]:
    """Whether the tokenizers library is loaded after each of the texts, in a process of its own."""
    script = f"""
import sys
from pathlib import Path
from types import SimpleNamespace
from lambda_app.models.tokenizer import load_tokenizer
model = SimpleNamespace(directory=Path({str(model.directory)!r}), tokenizer_kind={model.tokenizer_kind!r})
tokenizer = load_tokenizer(model)
for text in {texts!a}:
    tokenizer.encode(text, 64)
    print("tokenizers" in sys.modules)
"""
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return [line == "True" for line in answer.stdout.split()]


def spells_control(text: str) -> bool:
    """Whether the library would take a part of the text for a control token, where ids have to differ."""
    return any(name in form for name in CONTROL for form in (text, unicodedata.normalize("NFKC", text)))


def original(source: Path) -> Any:
    """The library on the original file, with no truncation of the file's own."""
    tokenizer = Tokenizer.from_file(str(source))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


SPECIFICATIONS: dict[str, Callable[[], str]] = {
    "library": library_specification,
    "wordpiece": wordpiece_specification,
    "cased": lambda: wordpiece_specification(lowercase=False),
    "classic": unigram_specification,
    "converted": lambda: unigram_specification("converted"),
    "collapsed": lambda: unigram_specification("collapsed"),
}
