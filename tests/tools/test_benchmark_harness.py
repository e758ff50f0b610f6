"""What benchmarks run on: things made once, progress, the page cache, processes."""

import io
import os
from pathlib import Path

import pytest

from benchmarks.harness import pagecache
from benchmarks.harness.artefacts import NEEDS, key
from benchmarks.harness.process_usage import usage
from benchmarks.harness.progress import Progress
from benchmarks.harness.stamps import digest, is_made, make_once, seconds_to_make


def test_progress_off_a_terminal_is_ten_lines_at_most() -> None:
    stream = io.StringIO()
    progress = Progress(100, stream)
    for number in range(100):
        progress.begin(f"step {number}")
        progress.advance()
    assert len(stream.getvalue().splitlines()) == 10


def test_artefacts_are_keyed_by_what_they_are_made_from() -> None:
    assert len({key(name) for name in NEEDS}) == len(NEEDS)


def test_things_are_made_once_and_again_when_their_sources_change(tmp_path: Path) -> None:
    target, made = tmp_path / "thing", []

    def make(directory: Path) -> None:
        made.append(list(directory.iterdir()))
        (directory / "file").touch()

    assert make_once(target, digest("a"), make)
    assert not make_once(target, digest("a"), make)
    assert make_once(target, digest("b"), make)
    assert made == [[], []]
    assert is_made(target, digest("b"))
    seconds = seconds_to_make(target)
    assert seconds is not None
    assert 0 <= seconds < 60
    assert seconds_to_make(tmp_path / "another") is None


def test_what_was_left_half_made_is_made_again(tmp_path: Path) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        make_once(tmp_path / "thing", "key", fail)
    assert make_once(tmp_path / "thing", "key", lambda directory: None)
    assert not (tmp_path / "thing" / "half").exists()


linux = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="asks Linux")


@linux
def test_pages_are_counted_and_evicted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1_000_001))
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "empty").touch()
    files = pagecache.files_below([tmp_path, path])
    assert sorted(file.name for file in files) == ["empty", "file"]
    assert pagecache.resident_bytes(files) == pagecache.total_bytes(files) == 1_000_001
    stayed = pagecache.evict(files)
    assert stayed == pagecache.resident_bytes(files)
    # Some file systems (tmpfs) live in the page cache; none may report more than there is.
    assert stayed in (0, 1_000_001)


@linux
def test_usage_of_a_process_is_what_the_kernel_says() -> None:
    found = usage(os.getpid())
    assert 0 < found.anonymous < found.resident <= found.peak * 1.1
    assert found.cpu_seconds > 0
