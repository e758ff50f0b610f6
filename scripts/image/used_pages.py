"""What one process uses of the image's files, seen from outside: ``record_start.py`` lists it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "models"
PAGE = 4096
PRESENT = 1 << 63
# Not of the image.
OUTSIDE = ("/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/run")  # noqa: S108 (not written to)
# Larger files are mapped, not read.
MAX_READ_BYTES = 16 << 20
# Read before Python runs any code, or by C libraries: no look at Python's own doings finds them.
UNSEEN = (
    "/etc/ld.so.cache",
    str(Path(sys.prefix) / "pyvenv.cfg"),
    str(ROOT / "lambda_app" / "coldstart" / "boot.pyc"),
    "/etc/nsswitch.conf",
    "/etc/passwd",
)

Page = tuple[str, int]


class UsedPages:
    """What a process uses of files: pages that are mapped in its memory, and files that it reads, whole.

    It is looked at from outside: the runtime client waits for events with the interpreter's lock held.
    """

    def __init__(self, pid: int, opened: Path) -> None:
        """Takes the process and the file in which it lists what it opens."""
        self._process = Path("/proc") / str(pid)
        self._opened = opened
        self._read = 0
        self._seen: set[Page] = set()
        # Files that were opened, and pages that were mapped, since the look before.
        self._looks: list[tuple[list[str], list[Page]]] = [(list(UNSEEN), [])]

    def look(self, *, models: bool) -> None:
        """Takes note of what was used; of the models' files only with ``models``."""
        opened = list(self._newly_opened())
        mapped = [page for page in self._mapped() if page not in self._seen]
        self._seen.update(mapped)
        if not models:
            opened = [path for path in opened if not _is_of_models(path)]
            mapped = [page for page in mapped if not _is_of_models(page[0])]
        self._looks.append((opened, mapped))

    def looks(self) -> list[list[Page]]:
        """Returns the pages that were used, look by look.

        A file that was opened to be mapped has not been read whole: its pages count when they are mapped.
        """
        by_pages = {path for _, mapped in self._looks for path, _ in mapped}
        return [
            [page for path in opened if path not in by_pages for page in file_pages(path)] + mapped
            for opened, mapped in self._looks
        ]

    def _newly_opened(self) -> Iterator[str]:
        text = self._opened.read_bytes()
        end = text.rfind(b"\n") + 1
        for line in text[self._read : end].splitlines():
            path = os.fsdecode(line)
            yield path
            if path.endswith("/manifest.json"):
                yield from map(str, read_by_libraries(Path(path)))
        self._read = end

    def _mapped(self) -> Iterator[Page]:
        try:
            lines = (self._process / "maps").read_text().splitlines()
            table = os.open(self._process / "pagemap", os.O_RDONLY)
        except OSError:
            return
        try:
            for line in lines:
                place, _, offset, _, _, *path = line.split(maxsplit=5)
                # Where a CPU is emulated, the emulator is mapped too, which the image does not have.
                if path and in_image(path[0]) and os.path.isfile(path[0]):
                    start, end = (int(number, 16) // PAGE for number in place.split("-"))
                    flags = memoryview(os.pread(table, (end - start) * 8, start * 8)).cast("Q")
                    first = int(offset, 16) // PAGE
                    yield from (
                        (path[0], first + index) for index, flag in enumerate(flags) if flag & PRESENT
                    )
        except OSError:
            return
        finally:
            os.close(table)


def read_by_libraries(manifest: Path) -> Iterator[Path]:
    """Yields the models' files that onnxruntime and tokenizers open by themselves."""
    for task, model in json.loads(manifest.read_bytes())["models"].items():
        yield manifest.parent / task / "model.onnx"
        if model["tokenizer_kind"] == "library":
            yield manifest.parent / task / "tokenizer.json"


def _is_of_models(path: str) -> bool:
    return path.startswith(f"{MODELS}/")


def in_image(path: str) -> bool:
    """Returns whether a path is one of the image's files, and not of the running system's."""
    return path.startswith("/") and not path.startswith(OUTSIDE)


def file_pages(path: str) -> list[Page]:
    """Returns all pages of a file that is read whole; none of one that is not the image's."""
    if not in_image(path) or not os.path.isfile(path) or os.path.getsize(path) > MAX_READ_BYTES:
        return []
    return [(path, page) for page in range(-(-os.path.getsize(path) // PAGE))]
