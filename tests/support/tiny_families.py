"""A tiny embedder and a tiny cross-encoder of every family, with the files that sentence-transformers reads.

Each family has the kind of tokenizer and the special tokens that its published models have.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import (
    AddedToken,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from builder.tokenizer.fuzz_corpus import fuzz_texts
from tests.support.tiny_models import HIDDEN, MAX_TOKENS, SHAPE, write_json
from tests.support.tokenizers_factory import unigram_specification, wordpiece_specification, written

# ``<pad>`` is 1 in all of them, and positions begin behind it.
_FAIRSEQ = {"cls_token": "<s>", "pad_token": "<pad>", "sep_token": "</s>", "mask_token": "<mask>"}
_BERT = {"cls_token": "[CLS]", "pad_token": "[PAD]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
_OFFSET = {"max_position_embeddings": MAX_TOKENS + 2, "pad_token_id": 1}


@dataclass(frozen=True, slots=True)
class TinyFamily:
    """``config`` is what differs from two layers of BERT; ``inputs`` are those of its cross-encoder."""

    tokenizer: str
    special: Mapping[str, str]
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = ("input_ids", "attention_mask")


FAMILIES: dict[str, TinyFamily] = {
    "bert": TinyFamily(
        "wordpiece",
        _BERT,
        {"max_position_embeddings": MAX_TOKENS},
        ("input_ids", "attention_mask", "token_type_ids"),
    ),
    "roberta": TinyFamily("byte-level", _FAIRSEQ | {"unk_token": "<unk>"}, {**_OFFSET, "type_vocab_size": 1}),
    "xlm-roberta": TinyFamily(
        "unigram", _FAIRSEQ | {"unk_token": "<unk>"}, {**_OFFSET, "type_vocab_size": 1}
    ),
    "camembert": TinyFamily("unigram", _FAIRSEQ | {"unk_token": "<unk>"}, {**_OFFSET, "type_vocab_size": 1}),
    "mpnet": TinyFamily("mpnet", _FAIRSEQ | {"unk_token": "[UNK]"}, _OFFSET),
    "distilbert": TinyFamily(
        "wordpiece",
        _BERT,
        {"dim": HIDDEN, "n_layers": 2, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": MAX_TOKENS},
    ),
    "modernbert": TinyFamily(
        "modern",
        _BERT,
        # Layers with a narrow window and with global attention, and texts longer than the window.
        {"max_position_embeddings": MAX_TOKENS, "num_hidden_layers": 4, "local_attention": 16}
        | {"initializer_cutoff_factor": 20.0, "classifier_pooling": "mean"},
    ),
}


def tiny_embedder(
    directory: Path,
    family: str,
    *,
    pooling: str = "mean_tokens",
    dense: Sequence[tuple[int, str, bool]] = (),
    normalize: bool = True,
) -> Path:
    """``dense`` layers are (width, activation of torch.nn, with bias)."""
    config = _prepared(directory, family)
    _saved(AutoModel, config, directory)
    steps = ["Transformer", "Pooling", *["Dense"] * len(dense), *["Normalize"] * normalize]
    paths = ["" if index == 0 else f"{index}_{kind}" for index, kind in enumerate(steps)]
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (kind, path) in enumerate(zip(steps, paths, strict=True))
    ]
    write_json(directory, "modules.json", modules)
    write_json(directory, "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
    write_json(directory, "1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, **modes})
    width = HIDDEN
    for index, (out, activation, bias) in enumerate(dense, start=2):
        write_dense(directory / f"{index}_Dense", width, out, activation, bias=bias)
        width = out
    return directory


def write_dense(directory: Path, width: int, out: int, activation: str, *, bias: bool) -> None:
    """A Dense module as sentence-transformers saves one."""
    module = "linear" if activation == "Identity" else "activation"
    content = {
        "in_features": width,
        "out_features": out,
        "bias": bias,
        "activation_function": f"torch.nn.modules.{module}.{activation}",
    }
    write_json(directory, "config.json", content)
    tensors = {"linear.weight": torch.randn(out, width) * 0.3}
    if bias:
        tensors["linear.bias"] = torch.randn(out)
    save_file(tensors, directory / "model.safetensors")


def tiny_cross_encoder(
    directory: Path, family: str, *, activation: str | None = None, labels: int = 1
) -> Path:
    """``activation`` (of torch.nn) is declared the way CrossEncoder saves it."""
    config = _prepared(directory, family, num_labels=labels)
    _saved(AutoModelForSequenceClassification, config, directory)
    if activation is not None:
        content = json.loads((directory / "config.json").read_text())
        module = "linear" if activation == "Identity" else "activation"
        section = {"activation_fn": f"torch.nn.modules.{module}.{activation}", "version": "5.2.0"}
        write_json(directory, "config.json", {**content, "sentence_transformers": section})
    return directory


def _saved(kind: Any, config: Any, directory: Path) -> None:
    with warnings.catch_warnings():
        # Importing ModernBERT imports PyTorch's compiler, which uses what PyTorch has deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        model = kind.from_config(config)
    model.save_pretrained(directory, safe_serialization=True)


def _prepared(directory: Path, family: str, **changes: Any) -> Any:
    """Tokenizer files, a seed that depends on the family, and the config of a model."""
    tiny = FAMILIES[family]
    tokenizer = Tokenizer.from_file(str(written(_specification(tiny.tokenizer), directory)))
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": MAX_TOKENS, **tiny.special}
    write_json(directory, "tokenizer_config.json", {**content, "model_input_names": list(tiny.inputs)})
    torch.manual_seed(sum(family.encode()))
    ids = {
        f"{name}_token_id": tokenizer.token_to_id(tiny.special[f"{special}_token"])
        for name, special in (("pad", "pad"), ("bos", "cls"), ("eos", "sep"), ("cls", "cls"), ("sep", "sep"))
    }
    return AutoConfig.for_model(
        family,
        **{"vocab_size": tokenizer.get_vocab_size(), **SHAPE, **ids, **tiny.config, **changes},
    )


def _specification(kind: str) -> str:
    if kind == "unigram":
        return unigram_specification()
    return wordpiece_specification() if kind == "wordpiece" else _trained(kind)


@cache
def _trained(kind: str) -> str:
    """MPNet's WordPiece between ``<s>`` and ``</s>``; RoBERTa's and ModernBERT's byte-level BPE."""
    if kind == "mpnet":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
        trainer: Any = trainers.WordPieceTrainer(vocab_size=2000, special_tokens=special, show_progress=False)
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
        if kind == "modern":
            tokenizer.normalizer = normalizers.NFC()
            special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=1000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
    tokenizer.train_from_iterator(list(fuzz_texts(2000, 7)), trainer)
    if kind == "modern":
        # Its published tokenizer has runs of spaces as tokens that are not special.
        tokenizer.add_tokens([AddedToken("   ", normalized=True, special=False)])
        ends = [(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=ends
        )
    else:
        tokenizer.post_processor = processors.RobertaProcessing(
            ("</s>", 2), ("<s>", 0), add_prefix_space=False
        )
    return str(tokenizer.to_str())
