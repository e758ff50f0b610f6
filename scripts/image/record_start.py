"""Records what a cold start reads: ``python scripts/image/record_start.py LIST COPIES``, inside the image.

The function runs on sample events (HTTP and direct, embedding and reranking) and is watched: which pages of
which files are mapped in its memory, and which files it opens. The list has them in the order of first use;
``scripts/image/launcher.c`` asks for them at the next start. Of the models it has what init reads: the model
that a request needs asks for its own weights and vocabulary.

A second start is compared with the list: its share of what that start touches is printed, and a list that
covers too little fails the build.

Small files of the list are copied below COPIES, for a layer of their own that puts them at their paths again:
where an image arrives in chunks of half a megabyte, forty libraries and modules that lay among files which
no start reads take forty chunks, and side by side a dozen.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WATCHER = Path(__file__).with_name("watch_start.py")
HANDLER = "lambda_app.handler.handler"
# Pages between two ranges that are read along: a gap costs less than another request.
GAP = 8
MIN_COVERAGE = 0.95
LOOK_SECONDS = 0.003
# Two chunks: larger files share few of theirs.
MAX_COPIED_BYTES = 1 << 20
sys.path.insert(0, str(ROOT))

from lambda_app.coldstart.start_list import heading  # noqa: E402 (found by the path set above)
from scripts.image.sample_start import SECONDS, STARTS, RuntimeApi  # noqa: E402
from scripts.image.used_pages import MODELS, PAGE, Page, UsedPages  # noqa: E402


def watch(preload: str | None, events: Sequence[Any]) -> list[list[Page]]:
    """Starts the function once; returns the pages that it used first between two looks, look by look.

    Raises:
        SystemExit: the function failed.
    """
    server = RuntimeApi(events)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.NamedTemporaryFile() as opened:
        environment = {**os.environ, "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}"}
        environment |= {"LOG_LEVEL": "ERROR"} | ({"PRELOAD": preload} if preload else {})
        command = [sys.executable, "-I", "-S", "-B", str(WATCHER), str(ROOT), opened.name, HANDLER]
        process = subprocess.Popen(command, env=environment, cwd=ROOT)
        used = UsedPages(process.pid, Path(opened.name))
        until = time.monotonic() + SECONDS
        try:
            while not server.finished.wait(LOOK_SECONDS) and process.poll() is None:
                ready = server.ready.is_set()
                used.look(models=not server.serves.is_set())
                if ready:
                    server.serves.set()
                if time.monotonic() > until:
                    raise SystemExit("the function did not answer while its start was recorded")
            used.look(models=False)
        finally:
            process.kill()
            process.wait()
            server.shutdown()
            server.server_close()
    # Without a bundle init fails: the list then ends there.
    if server.errors and (MODELS / "manifest.json").exists():
        raise SystemExit(f"the function failed while its start was recorded: {server.errors[0]}")
    return used.looks()


def ranges(looks: Iterable[Iterable[Page]]) -> list[tuple[str, int, int]]:
    """Returns (path, offset, length) in bytes, in the order of first use; neighbouring pages as one range."""
    seen: set[Page] = set()
    found = []
    for look in looks:
        by_path: dict[str, list[int]] = {}
        for path, page in look:
            if (path, page) not in seen:
                seen.add((path, page))
                by_path.setdefault(path, []).append(page)
        for path, pages in by_path.items():
            pages.sort()
            first = last = pages[0]
            for page in pages[1:]:
                if page - last > GAP:
                    found.append((path, first * PAGE, (last - first + 1) * PAGE))
                    first = page
                last = page
            found.append((path, first * PAGE, (last - first + 1) * PAGE))
    return found


def coverage(listed: Iterable[tuple[str, int, int]], looks: Iterable[Iterable[Page]]) -> float:
    """Returns the share of the looks' pages that the list has."""
    have = {
        (path, page)
        for path, offset, length in listed
        for page in range(offset // PAGE, (offset + length) // PAGE)
    }
    used = {page for look in looks for page in look}
    return len(used & have) / max(1, len(used))


def fingerprints() -> list[str]:
    """Returns the fingerprints of the image's models, embedding first; none where it has no bundle."""
    try:
        models = json.loads((MODELS / "manifest.json").read_bytes())["models"]
    except OSError:
        return []
    return [models[task]["fingerprint"] for task in ("embedding", "reranker") if task in models]


def write(out: Path, listed: Sequence[tuple[str, int, int]]) -> None:
    """Writes the list: the files, then (number of the file, offset, length) in the order of first use."""
    paths = list(dict.fromkeys(path for path, _, _ in listed))
    numbers = {path: number for number, path in enumerate(paths)}
    lines = [
        heading(fingerprints()),
        *paths,
        *(f"{numbers[path]} {offset} {length}" for path, offset, length in listed),
    ]
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def copy_small(paths: Iterable[str], below: Path) -> int:
    """Copies the small files among ``paths`` to the same paths below a directory; returns their bytes."""
    size = 0
    for path in paths:
        if os.path.getsize(path) <= MAX_COPIED_BYTES:
            target = below / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
            size += target.stat().st_size
    return size


def main(arguments: list[str]) -> int:
    """Records into the file that is the first argument, and copies below the directory that is the second."""
    if len(arguments) != 2:
        print(f"usage: {sys.argv[0]} LIST COPIES", file=sys.stderr)
        return 2
    looks = [look for preload, events in STARTS for look in watch(preload, events)]
    listed = ranges(looks)
    missing = sorted({path for path, _, _ in listed if not os.path.isfile(path)})
    share = coverage(listed, watch(*STARTS[0]))
    write(Path(arguments[0]), listed)
    megabytes = sum(length for _, _, length in listed) / 1e6
    files = {path for path, _, _ in listed}
    copied = copy_small(sorted(files - set(missing)), Path(arguments[1]))
    print(f"{arguments[0]}: {len(listed)} ranges of {len(files)} files, {megabytes:.1f} MB")
    print(f"{arguments[1]}: {copied / 1e6:.1f} MB of small files, to lie side by side")
    print(f"{arguments[0]}: has {100 * share:.1f}% of what another start touches, inferences aside")
    if missing:
        print(f"these files are listed and not there: {', '.join(missing[:5])}", file=sys.stderr)
    return 1 if missing or not share >= MIN_COVERAGE else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
