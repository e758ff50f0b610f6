"""Tiny but real models in Hugging Face layout: random safetensors, config, tokenizer, module files.

Two layers of BERT or XLM-R with the tokenizers of ``tokenizers_factory``. The same seed gives the same files.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from builder.config.schema import QUANTIZATIONS
from tests.support.tokenizers_factory import unigram_specification, wordpiece_specification, written

MAX_TOKENS = 64
HIDDEN = 32
# Larger than the usual 0.02, so that random models tell texts apart.
SHAPE: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}


def write_json(directory: Path, name: str, content: object) -> None:
    """One of a model's JSON files."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def change_json(directory: Path, name: str, **changes: object) -> None:
    """Other values for some keys of a JSON object."""
    write_json(directory, name, {**json.loads((directory / name).read_text(encoding="utf-8")), **changes})


def write_modules(directory: Path, *, pooling: str = "mean_tokens", normalize: bool = True) -> None:
    """The files by which sentence-transformers says how to pool."""
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalize else [])]
    modules = [
        {
            "idx": index,
            "name": str(index),
            "path": f"{index}_{kind}" if index else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for index, kind in enumerate(kinds)
    ]
    write_json(directory, "modules.json", modules)
    modes = {f"pooling_mode_{mode}": mode == pooling for mode in ("cls_token", "mean_tokens", "lasttoken")}
    write_json(directory, "1_Pooling/config.json", {"word_embedding_dimension": HIDDEN, **modes})
    write_json(directory, "sentence_bert_config.json", {"max_seq_length": MAX_TOKENS, "do_lower_case": False})


def bert_embedder(directory: Path, *, seed: int = 1, prompts: Mapping[str, str] | None = None) -> Path:
    """A BERT embedder with mean pooling, as sentence-transformers saves one."""
    tokenizer = written(wordpiece_specification(), directory)
    torch.manual_seed(seed)
    model = BertModel(
        BertConfig(vocab_size=_rows(tokenizer), max_position_embeddings=MAX_TOKENS, **SHAPE),
        add_pooling_layer=False,
    )
    model.save_pretrained(directory, safe_serialization=True)
    write_modules(directory)
    if prompts is not None:
        write_json(directory, "config_sentence_transformers.json", {"prompts": dict(prompts)})
    return directory


def bert_cross_encoder(directory: Path, *, seed: int = 2) -> Path:
    """A BERT cross-encoder: two token types, pooler, one label."""
    tokenizer = written(wordpiece_specification(), directory)
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=_rows(tokenizer),
        max_position_embeddings=MAX_TOKENS,
        type_vocab_size=2,
        num_labels=1,
        **SHAPE,
    )
    BertForSequenceClassification(config).save_pretrained(directory, safe_serialization=True)
    return directory


def xlmr_cross_encoder(directory: Path, *, seed: int = 3, max_tokens: int = MAX_TOKENS) -> Path:
    """An XLM-R cross-encoder as bge-reranker is one: Unigram, positions behind the padding id, one type."""
    tokenizer = written(unigram_specification(), directory)
    torch.manual_seed(seed)
    config = XLMRobertaConfig(
        vocab_size=_rows(tokenizer),
        max_position_embeddings=max_tokens + 2,
        type_vocab_size=1,
        pad_token_id=1,
        num_labels=1,
        **SHAPE,
    )
    XLMRobertaForSequenceClassification(config).save_pretrained(directory, safe_serialization=True)
    return directory


def _rows(tokenizer_json: Path) -> int:
    vocabulary = json.loads(tokenizer_json.read_text(encoding="utf-8"))["model"]["vocab"]
    return len(vocabulary)


def config_text(
    *,
    embedding: str | None = None,
    reranker: str | None = None,
    quantization: str = "int8",
    pooling: str = "mean",
    prompts: Mapping[str, str] | None = None,
    dimensions: Sequence[int] = (),
    normalize: bool = False,
    activation: str = "sigmoid",
    parity: str = "off",
    strict: bool = False,
) -> str:
    """A config file. Without a reranker the embedder ranks; INT8 cannot pass the ``strict`` thresholds."""
    lines = [f'quantization = "{quantization}"']
    if embedding is not None:
        lines += [
            "[embedding]",
            f'source = "{embedding}"',
            f'pooling = "{pooling}"',
            f"max_tokens = {MAX_TOKENS}",
            f"dimensions = {json.dumps(list(dimensions))}",
            f"normalize = {str(normalize).lower()}",
        ]
        if prompts is not None:
            lines += [
                "[embedding.prompts]",
                *(f'{input_type} = "{prompt}"' for input_type, prompt in prompts.items()),
            ]
    if reranker is not None:
        lines += ["[reranker]", f'source = "{reranker}"', f"max_tokens = {MAX_TOKENS}"]
        lines += [f'activation = "{activation}"']
    else:
        lines += ["[reranker]", 'kind = "bi-encoder"']
    # Random weights answer at random: no scheme's own thresholds are meant for them.
    min_share, max_difference, floor = (1.0, 0.0, 1.0) if strict else (0.5, 1.0, 0.0)
    lines += ["[parity]", f'mode = "{parity}"']
    for scheme in QUANTIZATIONS:
        lines += [
            f"[parity.{scheme}.embedding]",
            f"min_mean_cosine = {min_share}",
            f"min_cosine = {floor}",
            f"min_mean_centred_cosine = {floor}",
            f"min_centred_cosine = {floor}",
            f"min_rank_correlation = {floor}",
            f"min_unusual_cosine = {floor}",
        ]
        lines += [
            f"min_top10_overlap = {min_share}",
            f"[parity.{scheme}.reranker]",
            f"max_mean_score_difference = {max_difference}",
        ]
        lines += [f"max_score_difference = {max_difference}", f"min_rank_agreement = {min_share}"]
        lines += [
            f"min_kendall_tau = {floor}",
            f"min_top3_overlap = {floor}",
            f"max_unusual_score_difference = {max_difference}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    # For builds that take models from sources/: python -m tests.support.tiny_models sources/tiny-reranker
    print(xlmr_cross_encoder(Path(sys.argv[1]), max_tokens=512))
