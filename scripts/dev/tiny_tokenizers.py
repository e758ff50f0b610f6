"""Tiny but real tokenizers, trained on fuzz texts: WordPiece as BERT has it, Unigram as XLM-R has it."""

import base64
import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Literal

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from builder.tokenizer.fuzz_corpus import fuzz_texts

_SEED = 7
_CONTROL = ("<s>", "<pad>", "</s>", "<unk>")


@cache
def wordpiece_specification(vocabulary: int = 3000, *, lowercase: bool = True) -> str:
    """Returns a ``tokenizer.json`` as BERT has it, uncased or cased.

    It truncates and pads at 128 tokens, as that of all-MiniLM-L6-v2 does.
    """
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106 (a token of the vocabulary)
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
    """Returns pieces with scores, and sentencepiece's real nmt_nfkc charsmap in base64."""
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
def unigram_specification(form: Literal["classic", "converted", "collapsed"] = "classic") -> str:
    """Returns a ``tokenizer.json`` with the structure of XLM-R's.

    ``classic`` is what the published files have (WhitespaceSplit before Metaspace); ``converted`` what
    transformers writes today (runs of spaces replaced, Metaspace alone); ``collapsed`` what it wrote before,
    which leaves a space at the end of a text.
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
        steps = [precompiled, strip, replace]
        if form == "collapsed":
            steps = [precompiled, {**replace, "content": " "}]
        normalizer = {"type": "Sequence", "normalizers": steps}
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
