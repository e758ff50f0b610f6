"""The user's own data for the parity gate: ``--eval FILE``, one JSON value a line.

Three kinds of line, in any mixture: a text (``{"text": ...}`` or a plain string), a pair (``{"query": ...,
"passage": ...}``), and a judged pair, with a ``relevance`` of 0 or more.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from builder.errors import EvaluationError

# PyTorch has to run over all of it: more is answered by a sample.
MAX_LINES = 10_000
MAX_CHARACTERS = 100_000
_PAIR = '{"query": "...", "passage": "..."}'
_FORMS = f'{{"text": "..."}}, {_PAIR} or {_PAIR[:-1]}, "relevance": 1}}'


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The user's own data, without repetitions.

    ``texts`` are those of text lines. ``rankings`` has each query's passages with their relevance, None where
    the line has none.
    """

    name: str
    sha256: str
    texts: tuple[str, ...]
    rankings: Mapping[str, Mapping[str, float | None]]

    def passages(self) -> list[str]:
        """Every passage of the file once, in the file's order."""
        return list(dict.fromkeys(one for passages in self.rankings.values() for one in passages))

    def judged(self) -> list[str]:
        """The queries that a ranking can be measured on: with a passage of a relevance above 0."""
        return [query for query, found in self.rankings.items() if any(value for value in found.values())]


@dataclass(slots=True)
class _Lines:
    where: str
    texts: dict[str, None] = field(default_factory=dict)
    rankings: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def add(self, number: int, line: str) -> None:
        where = f"{self.where} line {number}"
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise EvaluationError(f"{where} is not JSON ({error}): write one of {_FORMS} a line") from error
        if isinstance(entry, str):
            entry = {"text": entry}
        if not isinstance(entry, dict):
            raise EvaluationError(f"{where} is {type(entry).__name__}: write one of {_FORMS}")
        keys = entry.keys()
        if keys == {"text"}:
            self.texts[_text(entry, "text", where)] = None
        elif keys in ({"query", "passage"}, {"query", "passage", "relevance"}):
            query, passage = _text(entry, "query", where), _text(entry, "passage", where)
            passages = self.rankings.setdefault(query, {})
            if passage in passages:
                raise EvaluationError(f"{where} has a query and a passage that stand together further up")
            passages[passage] = _relevance(entry, where) if "relevance" in entry else None
        else:
            raise EvaluationError(f"{where} has the keys {', '.join(map(repr, keys))}: write one of {_FORMS}")


def read_evaluation(path: Path) -> Evaluation:
    """Reads and checks the whole file.

    Raises:
        EvaluationError: naming file and line, and what to write there.
    """
    try:
        raw = path.read_bytes()
        content = raw.decode("utf-8-sig")
    except OSError as error:
        raise EvaluationError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise EvaluationError(f"{path.name} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    # Not splitlines(): JSON may hold U+2028 and its kin inside a string.
    numbered = [(number, line) for number, line in enumerate(content.split("\n"), 1) if line.strip()]
    if len(numbered) > MAX_LINES:
        raise EvaluationError(
            f"{path.name} has {len(numbered)} lines, at most {MAX_LINES} are measured: take a sample"
        )
    lines = _Lines(path.name)
    for number, line in numbered:
        lines.add(number, line)
    distinct = len(lines.texts) + len(lines.rankings)
    distinct += len({one for passages in lines.rankings.values() for one in passages})
    if distinct < 2:
        raise EvaluationError(
            f"{path.name} has fewer than two texts to compare: write one of {_FORMS} a line"
        )
    found = Evaluation(path.name, hashlib.sha256(raw).hexdigest(), tuple(lines.texts), lines.rankings)
    given = {value for passages in found.rankings.values() for value in passages.values()} - {None}
    if given == {0.0}:
        raise EvaluationError(f"{path.name} judges no passage to be relevant: every relevance in it is 0")
    return found


def _text(entry: Mapping[str, Any], key: str, where: str) -> str:
    text = entry[key]
    if not isinstance(text, str) or not text.strip():
        raise EvaluationError(f"{where}: {key} is {_kind(text)}, write a text")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise EvaluationError(f"{where}: {key} holds a NUL or a lone surrogate, which is not text")
    if len(text) > MAX_CHARACTERS:
        raise EvaluationError(f"{where}: {key} has {len(text)} characters, at most {MAX_CHARACTERS} are read")
    return text


def _relevance(entry: Mapping[str, Any], where: str) -> float:
    value = entry["relevance"]
    valid = isinstance(value, int | float) and not isinstance(value, bool)
    if not valid or not math.isfinite(value) or not 0 <= value <= 1000:
        raise EvaluationError(f"{where}: relevance is {_kind(value)}, write a number from 0 (not) to 1000")
    return float(value)


def _kind(value: object) -> str:
    if isinstance(value, str):
        return "empty"
    return repr(value) if isinstance(value, int | float | None) else f"a {type(value).__name__}"
