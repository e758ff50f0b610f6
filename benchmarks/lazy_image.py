"""Starts from images that arrive chunk by chunk: ``python -m benchmarks.lazy_image`` (``make bench-lazy``).

Lambda flattens an image into one file system and fetches its 512 KiB chunks when they are first read. Here
each contender's image is one ext4 file system behind a FUSE file that delays the first read of each chunk,
and the function starts from it, as the image's config says, under the Runtime Interface Emulator. Delays,
chunks at once and read-ahead are arguments; rounds are interleaved over contenders and settings; figures are
medians. docs/COLD_START.md says what this does not model. It needs Linux, root, FUSE and Docker; images with
full-size models are built first and kept. ``--image`` measures one image that is there already;
``--quick`` fails where a start fetches too much.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.harness import lazy_disk
from benchmarks.harness.exit_status import exit_status
from benchmarks.harness.lazy_contenders import CONTENDERS, LazyContender
from benchmarks.harness.lazy_disk import READ_AHEAD, LazyDiskError
from benchmarks.harness.namespaces import NamespaceError, run_contained
from benchmarks.harness.paths import RESULTS
from benchmarks.measure.lazy_start import LazyPlan, measure, settings_of
from benchmarks.measure.workload import WrongResponseError
from benchmarks.report import lazy_results, png
from benchmarks.report.lazy_bounds import judge
from benchmarks.report.lazy_page import render
from scripts.image.build import BUILT, ImageError, docker_program
from scripts.local.rie import EmulatorError

DELAYS_MS, AT_ONCE = (0, 0.5, 2, 5, 20), (1, 8, 64)
QUICK_DELAYS_MS, QUICK_AT_ONCE = (0, 2), (8,)
# Of the small image that the checks of a pull request build.
MAX_CHUNKS, MAX_RATIO = 260, 2.0
FAILURES = (LazyDiskError, ImageError, EmulatorError, WrongResponseError, NamespaceError, png.PictureError)


def main(arguments: list[str] | None = None) -> int:
    """Runs the benchmark that the arguments describe."""
    options = _parser().parse_args(arguments)
    return exit_status(lambda: _run(options), *FAILURES, ValueError)


def _run(options: argparse.Namespace) -> int:
    if options.show is not None:
        _show(lazy_results.read(options.show), options)
        return 0
    lacking = lazy_disk.missing()
    if options.skip_without_fuse and any("FUSE" in one or "/dev/" in one or "root" in one for one in lacking):
        print(f"skipped, the lazy image needs {lacking[0]}", file=sys.stderr)
        return 0
    if lacking:
        raise LazyDiskError("\n  ".join(["missing", *lacking]))
    docker = docker_program(os.environ)
    # In a process of its own, whose failures end there.
    return run_contained(lambda: exit_status(lambda: _measure(options, docker), *FAILURES))


def _measure(options: argparse.Namespace, docker: str) -> int:
    delays = options.delay or (QUICK_DELAYS_MS if options.quick else DELAYS_MS)
    at_once = options.at_once or (QUICK_AT_ONCE if options.quick else AT_ONCE)
    settings = settings_of([delay / 1000 for delay in delays], at_once)
    plan = LazyPlan(_contenders(options), settings, options.rounds, options.read_ahead << 10)
    results = measure(plan, docker)
    lazy_results.write(results, options.json)
    _show(results, options)
    bounds = (
        judge(results, max_chunks=options.max_chunks, max_ratio=options.max_ratio) if options.quick else []
    )
    print("".join(f"\n{bound}" for bound in bounds))
    return 0 if all(bound.passed for bound in bounds) else 1


def _contenders(options: argparse.Namespace) -> list[LazyContender]:
    image = options.image or (os.environ.get("IMAGE") or _built_last() if options.quick else None)
    if image is None:
        chosen = options.contenders or [one.name for one in CONTENDERS]
        return [one for one in CONTENDERS if one.name in chosen]
    about = f"the image {image}"
    return [LazyContender("image", about, named=image, reranks=not options.embed_only, dimensions=None)]


def _built_last() -> str:
    if not BUILT.exists():
        raise ImageError("no image was built here: make image does it, or IMAGE names one")
    return BUILT.read_text(encoding="utf-8").strip()


def _show(results: lazy_results.LazyResults, options: argparse.Namespace) -> None:
    print(lazy_results.report(results))
    options.html.parent.mkdir(parents=True, exist_ok=True)
    options.html.write_text(render(results), encoding="utf-8")
    print(options.html)
    if options.png is not None:
        png.export(options.html, options.png)
        print(options.png)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lazy_image",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [one.name for one in CONTENDERS]
    add = parser.add_argument
    add("--contenders", type=_names, metavar="A,B", help=f"of {', '.join(names)}")
    add("--image", metavar="NAME", help="measure only this image")
    add("--embed-only", action="store_true", help="with --image: ask for no ranking")
    add("--delay", type=_numbers, metavar="MS,MS", help=f"of a chunk (default: {_list(DELAYS_MS)})")
    add(
        "--at-once",
        type=_counts,
        metavar="N,N",
        help=f"chunks that are fetched at once (default: {_list(AT_ONCE)})",
    )
    add(
        "--read-ahead", type=_positive, default=READ_AHEAD >> 10, metavar="KIB", help="(default: %(default)s)"
    )
    add(
        "--rounds",
        type=_positive,
        default=3,
        help="starts of each contender and setting (default: %(default)s)",
    )
    add(
        "--quick",
        action="store_true",
        help="one image, undelayed and 2 ms x 8; exit status 1 above the bounds",
    )
    add("--max-chunks", type=float, default=MAX_CHUNKS, help="bound of --quick (default: %(default)s)")
    add(
        "--max-ratio",
        type=float,
        default=MAX_RATIO,
        help="bound of --quick, delayed to not (default: %(default)s)",
    )
    add("--skip-without-fuse", action="store_true", help="succeed where root or FUSE is missing")
    add("--json", type=Path, default=RESULTS / "lazy_image.json", metavar="PATH")
    add("--html", type=Path, default=RESULTS / "lazy_image.html", metavar="PATH")
    add("--png", type=Path, metavar="PATH", help="the page as a picture too, through chromium")
    add("--show", type=Path, metavar="JSON", help="measure nothing, show an earlier run")
    return parser


def _list(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


def _names(value: str) -> list[str]:
    known, chosen = [one.name for one in CONTENDERS], value.split(",")
    if not set(chosen) <= set(known):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(known)}")
    return chosen


def _numbers(value: str) -> list[float]:
    found = [float(part) for part in value.split(",")]
    if not all(0 <= one < 10_000 for one in found):
        raise argparse.ArgumentTypeError("milliseconds from 0")
    return found


def _counts(value: str) -> list[int]:
    return [_positive(part) for part in value.split(",")]


def _positive(value: str) -> int:
    number = int(value)
    if number < 1:
        raise argparse.ArgumentTypeError("1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
