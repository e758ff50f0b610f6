"""A cross-encoder as if published: MiniLM's encoder, trained to find a sentence by some of its words.

Published cross-encoders cannot be had without the hub, and random weights answer at random, which says
nothing about thresholds. A minute on two cores; the seed is fixed.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from builder.parity.data import DATA

_EPOCHS = 2
_BATCH = 16
_NEGATIVES = 2
_MAX_TOKENS = 48
_RATE = 3e-4
# Layers that are trained, and the head; those below stay MiniLM's.
_TRAINED = ("encoder.layer.3.", "encoder.layer.4.", "encoder.layer.5.", "pooler.", "classifier.")

Pair = tuple[str, str, float]


def train_cross_encoder(encoder: Path, directory: Path) -> Path:
    """Trains one from the files of an encoder, and saves it in Hugging Face layout."""
    chooser = random.Random(7)
    torch.manual_seed(7)
    tokenizer = AutoTokenizer.from_pretrained(str(encoder))
    model = AutoModelForSequenceClassification.from_pretrained(str(encoder), num_labels=1)
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad = any(part in name for part in _TRAINED)
        trained += [parameter] * parameter.requires_grad
    model.train()
    sentences = _sentences()
    batches = [batch for _ in range(_EPOCHS) for batch in _batches(_pairs(sentences, chooser), chooser)]
    optimizer = torch.optim.AdamW(trained, lr=_RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=len(batches))
    for batch in batches:
        inputs = tokenizer(
            [query for query, _, _ in batch],
            [document for _, document, _ in batch],
            padding=True,
            truncation=True,
            max_length=_MAX_TOKENS,
            return_tensors="pt",
        )
        labels = torch.tensor([label for _, _, label in batch])
        logits = model(**inputs).logits[:, 0]
        loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    model.save_pretrained(directory, safe_serialization=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (encoder / name).exists():
            shutil.copy(encoder / name, directory / name)
    return directory


def _sentences() -> list[str]:
    """Those of calibration and of the embedders' gate; not those that cross-encoders are compared on."""
    lines = [
        line
        for name in ("calibration_texts.tsv", "parity_texts.tsv")
        for line in (DATA / name).read_text(encoding="utf-8").splitlines()
    ]
    return [line.split("\t", 1)[1] for line in lines if line and not line.startswith("#")]


def _pairs(sentences: Sequence[str], chooser: random.Random) -> list[Pair]:
    """Query, document and label: a query is half of a sentence's words, which is or is not the document."""
    pairs = []
    for sentence in sentences:
        words = sentence.split()
        kept = chooser.sample(words, max(1, len(words) // 2)) if len(words) > 1 else [sentence[::2]]
        query = " ".join(kept)
        pairs.append((query, sentence, 1.0))
        pairs += [(query, chooser.choice(sentences), 0.0) for _ in range(_NEGATIVES)]
    return pairs


def _batches(pairs: Sequence[Pair], chooser: random.Random) -> Iterator[Sequence[Pair]]:
    """Batches of similar length, in a random order."""
    ordered = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    batches = [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]
    chooser.shuffle(batches)
    yield from batches
