"""Compiles what the function imports of the standard library: ``python scripts/image/compile_stdlib.py OUT``.

The official Python images carry no bytecode of the standard library, and Lambda's file system is read-only:
without this every cold start would compile it. Compiled files go below OUT, at the paths that they are looked
for at. They are never compared with their sources again (PEP 552, unchecked hashes): in an image neither
changes.
"""

from __future__ import annotations

import importlib
import py_compile
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from scripts.image.pack_imports import ENTRY_POINTS


def standard_library() -> dict[Path, Path]:
    """Returns source and bytecode paths of the imported modules that belong to the interpreter.

    Those of the environment and of the function are left out.
    """
    own = [Path(sys.prefix).resolve(), ROOT.resolve()]
    found = {}
    for module in list(sys.modules.values()):
        # A frozen module has no source file, and needs no bytecode.
        spec = getattr(module, "__spec__", None)
        if spec is None or not str(spec.origin).endswith(".py") or not spec.cached:
            continue
        source = Path(str(spec.origin))
        if not any(root in source.resolve().parents for root in own):
            found[source] = Path(spec.cached)
    return found


def compile_into(out: Path, modules: dict[Path, Path]) -> int:
    """Writes the bytecode below ``out`` and returns the bytes written.

    It replaces what is there: the base may have it otherwise than the stage in which this runs.
    """
    size = 0
    for source, cached in sorted(modules.items()):
        target = out / cached.relative_to(cached.anchor)
        target.parent.mkdir(parents=True, exist_ok=True)
        py_compile.compile(
            str(source),
            str(target),
            dfile=str(source),
            doraise=True,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
        size += target.stat().st_size
    return size


def main(arguments: list[str]) -> int:
    """Compiles below the directory that is the one argument."""
    if len(arguments) != 1:
        print(f"usage: {sys.argv[0]} OUT", file=sys.stderr)
        return 2
    for name in ENTRY_POINTS:
        importlib.import_module(name)
    modules = standard_library()
    size = compile_into(Path(arguments[0]), modules)
    print(f"{arguments[0]}: {len(modules)} modules of the standard library compiled, {size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
