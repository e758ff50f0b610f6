"""Compiles what the function imports of the standard library: ``python scripts/compile_stdlib.py OUT``.

The official Python images carry no bytecode of the standard library, and Lambda's file system is read-only:
without this every cold start would compile it. Compiled files go below OUT, at the paths that they are looked
for at. They are never compared with their sources again (PEP 552, unchecked hashes): in an image neither
changes.
"""

from __future__ import annotations

import importlib
import importlib.util
import py_compile
import sys
import sysconfig
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.pack_imports import ENTRY_POINTS


def standard_library_sources() -> list[Path]:
    """Source files of the imported modules that belong to the standard library."""
    roots = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")}
    sources = set()
    for module in list(sys.modules.values()):
        # A frozen module has its file in __origname__ alone, and needs no bytecode of its own.
        path = Path(str(getattr(getattr(module, "__spec__", None), "origin", None) or "."))
        inside = any(root in path.resolve().parents for root in roots)
        if inside and path.suffix == ".py" and not {"site-packages", "dist-packages"} & set(path.parts):
            sources.add(path.resolve())
    return sorted(sources)


def compile_into(out: Path, sources: list[Path]) -> tuple[int, int]:
    """Writes bytecode below ``out``; returns how many files, and their bytes."""
    count = size = 0
    for source in sources:
        # Also where there is some already: the base may have it otherwise than the stage in which this runs.
        cached = Path(importlib.util.cache_from_source(str(source)))
        target = out / cached.relative_to(cached.anchor)
        target.parent.mkdir(parents=True, exist_ok=True)
        py_compile.compile(
            str(source),
            str(target),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        count += 1
        size += target.stat().st_size
    return count, size


def main(arguments: list[str]) -> int:
    """Compiles below the directory that is the one argument."""
    if len(arguments) != 1:
        print(f"usage: {sys.argv[0]} OUT", file=sys.stderr)
        return 2
    for name in ENTRY_POINTS:
        importlib.import_module(name)
    count, size = compile_into(Path(arguments[0]), standard_library_sources())
    print(f"{arguments[0]}: {count} modules of the standard library compiled, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
