"""Models of the exact shapes of e5-base-v2 and bge-reranker-base, with random weights and real tokenizers.

How fast a model opens and runs depends on its shapes and bytes, not on what it has learned. The embedder gets
the 30,522 WordPiece entries that uncased BERT really has; the reranker a Unigram vocabulary of XLM-R's
structure and size (250,002), synthesized around the same English words.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.synthetic_tokenizer import specification_with_words

MAX_TOKENS = 512
_SEED = 0


def write_embedder(directory: Path, tokenizer: Path) -> None:
    """Writes e5-base-v2 in the layout of sentence-transformers; ``tokenizer`` is a directory with BERT's."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(_SEED)
    # e5-base-v2's config.json has BertConfig's defaults: 12 layers, 768 wide, 30,522 tokens.
    BertModel(BertConfig()).save_pretrained(directory)
    specification = json.loads((tokenizer / "tokenizer.json").read_bytes())
    # The package's own limit of 128 tokens is not e5's.
    specification["truncation"] = specification["padding"] = None
    _write_json(directory / "tokenizer.json", specification)
    for name in ("vocab.txt", "special_tokens_map.json"):
        if (tokenizer / name).exists():
            shutil.copyfile(tokenizer / name, directory / name)
    special = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]",
               "mask_token": "[MASK]"}  # fmt: skip
    _write_json(
        directory / "tokenizer_config.json",
        {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": MAX_TOKENS} | special,
    )
    _write_json(directory / "special_tokens_map.json", special)
    _write_sentence_transformers(directory)


def write_reranker(directory: Path, words: Sequence[str]) -> None:
    """Writes bge-reranker-base in Hugging Face layout; ``words`` are English ones, frequent first."""
    import torch
    from transformers import XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(_SEED)
    # The differences between XLM-R base, which bge-reranker-base is, and the defaults.
    config = XLMRobertaConfig(
        vocab_size=250_002, max_position_embeddings=514, type_vocab_size=1, num_labels=1
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(directory)
    _write_json(directory / "tokenizer.json", specification_with_words(words))
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>",
               "pad_token": "<pad>", "cls_token": "<s>", "mask_token": "<mask>"}  # fmt: skip
    _write_json(
        directory / "tokenizer_config.json",
        {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": MAX_TOKENS} | special,
    )
    _write_json(directory / "special_tokens_map.json", special)


def _write_sentence_transformers(directory: Path) -> None:
    kinds = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for index, (path, kind) in enumerate(kinds)
    ]
    _write_json(directory / "modules.json", modules)
    _write_json(
        directory / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 768, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True},
    )
    (directory / "2_Normalize").mkdir()
    _write_json(
        directory / "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False}
    )


def _write_json(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
