#!/usr/bin/env python3
"""A Docker engine for machines that have none: ``.ci/engine.py run COMMAND`` (scripts/dev/engine has it)."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.dev.engine.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
