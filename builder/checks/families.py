"""The transformer families that the build carries over, by ``model_type`` of config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Family:
    """The keys that a family's config.json uses.

    ``offset_positions``: position ids start behind the padding id, so texts get fewer positions.
    """

    offset_positions: bool = False
    hidden_size: str = "hidden_size"
    heads: str = "num_attention_heads"
    layers: str = "num_hidden_layers"


# By config.json's model_type. tests/unit/builder/test_families.py compares each with sentence-transformers.
FAMILIES: Mapping[str, Family] = {
    "bert": Family(),
    "roberta": Family(offset_positions=True),
    "xlm-roberta": Family(offset_positions=True),
    "camembert": Family(offset_positions=True),
    "mpnet": Family(offset_positions=True),
    "distilbert": Family(hidden_size="dim", heads="n_heads", layers="n_layers"),
    "modernbert": Family(),
}
