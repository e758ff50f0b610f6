"""What every bundle is compared on: sentences in many scripts, and queries with documents."""

from __future__ import annotations

import json
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"


def load_texts() -> list[str]:
    """Returns the parity sentences, and long texts made of them that pass every model's limit."""
    texts = load_sentences()
    return [*texts, *(" ".join(texts[start::17] * 4) for start in range(4))]


def load_sentences() -> list[str]:
    """Returns the parity sentences, none of them long."""
    lines = (DATA / "parity_texts.tsv").read_text(encoding="utf-8").splitlines()
    return [line.split("\t", 1)[1] for line in lines if line and not line.startswith("#")]


def load_rankings() -> list[tuple[str, list[str]]]:
    """Returns queries with their documents; those of the last query are too long for any model."""
    lines = (DATA / "parity_rankings.jsonl").read_text(encoding="utf-8").splitlines()
    rankings = [(entry["query"], entry["documents"]) for entry in map(json.loads, lines)]
    query, documents = rankings[-1]
    return [*rankings, (query, [" ".join([document] * 40) for document in documents])]
