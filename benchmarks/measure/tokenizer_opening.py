"""How long a tokenizer takes to open, and what memory it holds, in a process that does nothing else.

``python -m benchmarks.measure.tokenizer_opening KIND DIRECTORY`` prints milliseconds to open it, to encode a
first ASCII text and to encode a first other text, then megabytes after opening and after encoding. Imports
are not counted. KIND is ``compiled`` (this project's tokenizer) or ``library`` (Hugging Face's).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ASCII_TEXT, OTHER_TEXT = "plain text", "na\u00efve"


@dataclass(frozen=True, slots=True)
class CompiledTokenizer:
    """The files of a compiled Unigram tokenizer, as a bundle describes them."""

    directory: Path
    tokenizer_kind: Literal["unigram"] = "unigram"
    max_tokens: int = 512


def main(kind: str, path: str) -> None:
    """Prints the five figures."""
    open_ = _open_compiled(Path(path)) if kind == "compiled" else _open_library(Path(path))
    before, began = _resident(), time.perf_counter()
    encode = open_()
    opened = time.perf_counter()
    after = _resident()
    encode(ASCII_TEXT)
    first = time.perf_counter()
    encode(OTHER_TEXT)
    last = time.perf_counter()
    print(*((end - start) * 1e3 for start, end in ((began, opened), (opened, first), (first, last))))
    print((after - before) / 1024, (_resident() - before) / 1024)


def _open_compiled(directory: Path) -> Callable[[], Callable[[str], object]]:
    import marisa_trie  # noqa: F401 (imported before the clock starts, as the next two)
    import numpy as np  # noqa: F401

    import lambda_app.models.tokenizer.unigram  # noqa: F401
    from lambda_app.models.tokenizer import load_tokenizer

    def open_() -> Callable[[str], object]:
        tokenizer = load_tokenizer(CompiledTokenizer(directory))
        return lambda text: tokenizer.encode(text, 8)

    return open_


def _open_library(directory: Path) -> Callable[[], Callable[[str], object]]:
    from tokenizers import Tokenizer

    def open_() -> Callable[[str], object]:
        tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        return lambda text: tokenizer.encode(text)

    return open_


def _resident() -> int:
    """Returns the kilobytes that this process holds."""
    with open("/proc/self/status", encoding="ascii") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmRSS"))


if __name__ == "__main__":
    main(*sys.argv[1:])
