"""What a build prints while it runs: its steps, tables and sizes."""

import io

import pytest

from builder.progress import Progress, megabytes, table


def test_progress_and_tables() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    with progress.step("one"):
        pass
    with pytest.raises(ValueError, match="x"), progress.step("two"):
        raise ValueError("x")
    assert list(progress.seconds) == ["one", "two"]
    first, second = stream.getvalue().splitlines()
    assert first.split() == ["one", "0.0", "s"]
    assert second.endswith("failed")
    assert table([("name", "n"), ("a", "10"), ("bcdef", "1")]) == "name    n\n-----  --\na      10\nbcdef   1"
    assert (megabytes(1_234_567), megabytes(1_234)) == ("1.2 MB", "1.2 kB")
