"""optimum's ORTModel classes on single-file INT8, with transformers' tokenizers, as documented."""

import torch
from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTModelForSequenceClassification
from transformers import AutoTokenizer

from benchmarks.contenders.common import EMBEDDER, RERANKER, create_handler

embedder_tokenizer = AutoTokenizer.from_pretrained(EMBEDDER)
embedder = ORTModelForFeatureExtraction.from_pretrained(EMBEDDER)
reranker_tokenizer = AutoTokenizer.from_pretrained(RERANKER)
reranker = ORTModelForSequenceClassification.from_pretrained(RERANKER)


def embed(texts: list[str], batch_size: int | None) -> list[list[float]]:
    """Mean pooling and normalisation as e5's model card has them."""
    step = batch_size or 32
    vectors: list[list[float]] = []
    for start in range(0, len(texts), step):
        batch = embedder_tokenizer(
            texts[start : start + step], max_length=512, padding=True, truncation=True, return_tensors="pt"
        )
        hidden = embedder(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None]
        pooled = (hidden * mask).sum(dim=1) / mask.sum(dim=1)
        vectors += torch.nn.functional.normalize(pooled, p=2, dim=1).tolist()
    return vectors


def rerank(query: str, documents: list[str]) -> list[float]:
    """Scores in the order of the documents."""
    batch = reranker_tokenizer(
        [[query, document] for document in documents],
        max_length=512, padding=True, truncation=True, return_tensors="pt",
    )  # fmt: skip
    logits = reranker(**batch).logits.view(-1).float()
    scores: list[float] = torch.sigmoid(logits).tolist()
    return scores


handler = create_handler(embed, rerank)
