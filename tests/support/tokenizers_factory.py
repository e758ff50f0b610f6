"""Tiny but real tokenizers, trained on fuzz texts: WordPiece as BERT has it, Unigram as XLM-R has it."""

import base64
import json
import tempfile
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from builder.tokenizer.compile import CompileResult, compile_tokenizer
from builder.tokenizer.fuzz_corpus import fuzz_texts
from lambda_app.bundle import TokenizerKind

_SEED = 7
# Control tokens of all specifications.
CONTROL = ("<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[PAD]", "[UNK]", "[MASK]")
_CONTROL = ("<s>", "<pad>", "</s>", "<unk>")


@dataclass(frozen=True, slots=True)
class TokenizerModel:
    """As much of a bundle's model as a tokenizer reads."""

    directory: Path
    tokenizer_kind: TokenizerKind
    max_tokens: int = 512


@cache
def wordpiece_specification(vocabulary: int = 3000, *, lowercase: bool = True) -> str:
    """``tokenizer.json`` of BERT, uncased or cased; truncated and padded at 128, as all-MiniLM-L6-v2's is."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(list(fuzz_texts(3000, _SEED)), trainer)
    sep, cls = ("[SEP]", tokenizer.token_to_id("[SEP]")), ("[CLS]", tokenizer.token_to_id("[CLS]"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[cls, sep]
    )
    tokenizer.enable_truncation(128)
    tokenizer.enable_padding(length=128)
    return str(tokenizer.to_str())


@cache
def _sentencepiece() -> tuple[tuple[tuple[str, float], ...], str]:
    """Pieces with scores, and sentencepiece's real nmt_nfkc charsmap in base64."""
    lines = [line for text in fuzz_texts(4000, _SEED) for line in text.splitlines() if line.strip()]
    with tempfile.TemporaryDirectory() as directory:
        prefix = str(Path(directory) / "m")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_prefix=prefix,
            vocab_size=4600,
            model_type="unigram",
            character_coverage=0.98,
            hard_vocab_limit=False,
            num_threads=2,
            minloglevel=2,
        )
        proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at run time
        proto.ParseFromString(Path(prefix + ".model").read_bytes())
    pieces = tuple((piece.piece, piece.score) for piece in proto.pieces[3:])
    return pieces, base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()


@cache
def unigram_specification(form: Literal["classic", "converted"] = "classic") -> str:
    """``tokenizer.json`` with the structure of XLM-R's.

    ``classic`` is what the published files have (WhitespaceSplit before Metaspace); ``converted`` what
    transformers writes today (runs of spaces replaced, Metaspace alone).
    """
    pieces, charsmap = _sentencepiece()
    vocabulary: list[list[Any]] = (
        [[name, 0.0] for name in _CONTROL] + [list(each) for each in pieces] + [["<mask>", 0.0]]
    )
    metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    precompiled = {"type": "Precompiled", "precompiled_charsmap": charsmap}
    if form == "classic":
        normalizer: dict[str, Any] = precompiled
        pre_tokenizer: dict[str, Any] = {
            "type": "Sequence",
            "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace],
        }
    else:
        strip = {"type": "Strip", "strip_left": False, "strip_right": True}
        replace = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "▁"}
        normalizer = {"type": "Sequence", "normalizers": [precompiled, strip, replace]}
        pre_tokenizer = metaspace
    begin, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("<s>", "</s>"))
    first, second = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
    specification = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": id_, "content": name, "single_word": False, "lstrip": name == "<mask>", "rstrip": False,
             "normalized": name == "<mask>", "special": True}
            for id_, name in [*enumerate(_CONTROL), (len(vocabulary) - 1, "<mask>")]
        ],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [begin, first, end],
            "pair": [begin, first, end, end, second, end],
            "special_tokens": {
                name: {"id": name, "ids": [id_], "tokens": [name]} for id_, name in ((0, "<s>"), (2, "</s>"))
            },
        },
        "decoder": metaspace,
        "model": {"type": "Unigram", "unk_id": 3, "vocab": vocabulary, "byte_fallback": False},
    }  # fmt: skip
    return json.dumps(specification, ensure_ascii=False)


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
}
