"""How fast a bundle's model is and what it takes: ``python -m builder.compare.timing BUNDLE TASK THREADS``.

Prints one JSON object. ``--compare`` runs this in a process of its own for every scheme and round, so that it
imports only what the function does and finds nothing warm but the page cache.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from itertools import chain, cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import lambda_app.models  # noqa: F401  # sets what has to be set before numpy is imported

# isort: split
from builder.parity.data import load_sentences
from lambda_app.bundle import Bundle, ModelInfo
from lambda_app.limits import BATCH_TOKENS
from lambda_app.models.inference import run_encodings
from lambda_app.models.session import Session, open_session
from lambda_app.models.tokenizer import load_tokenizer
from lambda_app.models.tokenizer.tokenizer import Encoding

# Texts, and tokens of each.
SHAPES = ((1, 16), (1, 128), (16, 128))
# A shape is run this often, and then until so many seconds have passed.
_MIN_RUNS, _MAX_RUNS, _SECONDS = 3, 60, 0.3


def measure(model: ModelInfo, threads: int) -> dict[str, Any]:
    """Measures a model's load time, latency and memory in this process.

    Returns:
        ``load_ms`` until a first text has gone through, ``first_resident_bytes`` after that, ``latency_ms``
        of each shape on repacked weights (as a function has them after its first requests), and
        ``resident_bytes`` at the end.
    """
    sentences = load_sentences()
    began = time.perf_counter()
    tokenizer = load_tokenizer(model)
    first = tokenizer.encode_batch(sentences[:1], 16)
    session = open_session(model, threads=threads, repack_tokens=len(first[0].ids))
    _run(session, model, first)
    load = time.perf_counter() - began
    resident = resident_bytes()
    ids = list(chain.from_iterable(one.ids for one in tokenizer.encode_batch(sentences, model.max_tokens)))
    shapes = shapes_of(model.max_tokens)
    return {
        "load_ms": load * 1000,
        "first_resident_bytes": resident,
        "latency_ms": {
            shape_name(*shape): _latency(session, model, _rows(ids, *shape)) * 1000 for shape in shapes
        },
        "resident_bytes": resident_bytes(),
    }


def shapes_of(max_tokens: int) -> list[tuple[int, int]]:
    """:data:`SHAPES`, no text longer than the model takes."""
    return list(dict.fromkeys((texts, min(tokens, max_tokens)) for texts, tokens in SHAPES))


def shape_name(texts: int, tokens: int) -> str:
    """Returns a shape as the report names it, as in ``16x128``."""
    return f"{texts}x{tokens}"


def resident_bytes() -> int:
    """Returns this process's memory, Python and mapped weights included; 0 where the system does not say."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:")), 0)


def _rows(ids: Sequence[int], texts: int, tokens: int) -> list[Encoding]:
    """Real token ids, as they come, cut into rows of equal length."""
    stream = cycle(ids)
    return [Encoding(list(islice(stream, tokens)), [0] * tokens, False) for _ in range(texts)]


def _latency(session: Session, model: ModelInfo, rows: list[Encoding]) -> float:
    """Seconds, the median; the first run counts for nothing."""
    _run(session, model, rows)
    seconds: list[float] = []
    while len(seconds) < _MIN_RUNS or (sum(seconds) < _SECONDS and len(seconds) < _MAX_RUNS):
        began = time.perf_counter()
        _run(session, model, rows)
        seconds.append(time.perf_counter() - began)
    return median(seconds)


def _run(session: Session, model: ModelInfo, rows: list[Encoding]) -> None:
    run_encodings(session, model, rows, batch_tokens=BATCH_TOKENS)


def main(arguments: list[str]) -> int:
    """Measures one model of a bundle and prints the figures as JSON; returns the exit code."""
    bundle, task, threads = arguments
    opened = Bundle.open(bundle)
    model = opened.embedding if task == "embedding" else opened.reranker
    if model is None:
        return 1
    print(json.dumps(measure(model, int(threads))))  # noqa: T201  # what the process is for
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
