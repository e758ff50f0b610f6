"""A corpus with all that goes wrong in one, for the demo and the tests: what is in it is known exactly."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any, NamedTuple

WORDS = (
    "yellow fever is transmitted by mosquitoes that bite during the day and breed in clean water near "
    "houses the vaccine protects for life bread rises because yeast turns sugar into gas a function starts "
    "cold when its image is read from far away Grüße naïve 蚊 🦟 Fieber мороз"
).split()
BAD_LINES = (
    '{"id": "broken", "text": ',
    '{"id": "no text"}',
    '{"id": "empty", "text": ""}',
    '["not", "an", "object"]',
)
DOCUMENT_WORDS = 3_200


class Corpus(NamedTuple):
    """Objects by key, and what is in them: rows by id, and lines that cannot be served by object."""

    objects: dict[str, bytes]
    rows: dict[str, str]
    bad: dict[str, list[int]]


def corpus(rows: int, *, seed: int = 1) -> Corpus:
    """Returns a corpus of so many rows that can be served, of 4 to 16 words each.

    Among its objects are a packed one, an empty one, one without a last line end, and one whose bad lines
    are all over it; characters of several bytes are everywhere.
    """
    draw = random.Random(seed)
    shares = {"a.jsonl": 0.6, "b.jsonl.gz": 0.1, "c.csv": 0.1, "no-line-end.jsonl": 0.2}
    objects: dict[str, bytes] = {"empty.jsonl": b""}
    texts: dict[str, str] = {}
    bad: dict[str, list[int]] = {}
    number = 0
    for name, share in shares.items():
        count = rows - number if name == "no-line-end.jsonl" else int(rows * share)
        lines: list[str] = []
        for here in range(count):
            text = " ".join(draw.choices(WORDS, k=draw.randint(4, 16)))
            texts[f"row-{number}"] = text
            lines.append(_line(name, f"row-{number}", text))
            number += 1
            if name == "a.jsonl" and here % max(1, count // 10) == 5:
                lines.append(BAD_LINES[len(bad.get(name, ())) % len(BAD_LINES)])
                bad.setdefault(name, []).append(len(lines))
        if name == "c.csv":
            lines.insert(0, "id,text")
        content = "\n".join(lines).encode()
        content += b"" if name == "no-line-end.jsonl" else b"\n"
        objects[name] = gzip.compress(content) if name.endswith(".gz") else content
    return Corpus(objects, texts, bad)


def document(seed: int = 2) -> dict[str, Any]:
    """Returns a row whose text has some 4,000 tokens."""
    draw = random.Random(seed)
    return {"id": "document", "text": " ".join(draw.choices(WORDS, k=DOCUMENT_WORDS))}


def _line(name: str, key: str, text: str) -> str:
    return f"{key},{text}" if name == "c.csv" else json.dumps({"id": key, "text": text}, ensure_ascii=False)
