"""The function as ``make serve`` runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.paths import ROOT


@contextmanager
def local_server(bundle: Path) -> Iterator[str]:
    """Serves a bundle on a free port; gives host and port."""
    environment = {**os.environ, "MODEL_DIR": str(bundle)}
    command = [sys.executable, "-m", "scripts.local.serve", "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stdout or ())
            yield next(match[1] for line in lines if (match := re.search(r"http://(\S+)", line)))
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=30)
    assert output.endswith("stopped\n")
    assert process.returncode == 0
