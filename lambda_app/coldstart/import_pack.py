"""Imports from one file: the code of every module that init imports, found by name and read from one mapping.

A cold start imports some 400 modules. Python looks each up along its search path and opens, checks and reads
a file for it, which takes a fifth of the imports' time with everything in memory, and four hundred small
reads where a disk is fetched block by block. ``scripts/image/pack_imports.py`` writes the pack when the
image is built; IMPORT_PACK names it. Modules keep their files as ``__file__``, and whatever is not in the
pack is imported as ever.
"""

from __future__ import annotations

import marshal
import mmap
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType

# What a pack begins with; the interpreter's own magic number follows, for code of another version cannot run.
SIGNATURE = b"import-pack-1\n"
HEADER = SIGNATURE + MAGIC_NUMBER

# Module name to (offset, length, source file, whether it is a package); offsets count from the pack's first
# byte.
Index = dict[str, tuple[int, int, str, bool]]


class PackLoader(SourceFileLoader):
    """A source file's loader in all but where the code comes from."""

    def __init__(self, name: str, path: str, code: memoryview) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType | None:
        """Returns the code of the module."""
        code: CodeType = marshal.loads(self._code)  # as trusted as a .pyc
        return code


class PackFinder:
    """Finds packed modules by name, ahead of the search path."""

    def __init__(self, index: Index, pack: memoryview) -> None:
        self._index = index
        self._pack = pack

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Returns the spec of a module in the pack; None for any other."""
        entry = self._index.get(name)
        if entry is None:
            return None
        offset, length, origin, is_package = entry
        loader = PackLoader(name, origin, self._pack[offset : offset + length])
        spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec


def install(path: str) -> str | None:
    """Makes the pack at ``path`` the first place that imports look at.

    Returns:
        None, or why the pack was left alone; imports then go their usual way.
    """
    try:
        with open(path, "rb") as stream:
            mapping = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    except (OSError, ValueError) as error:
        return f"cannot be read ({type(error).__name__})"
    if mapping[: len(HEADER)] != HEADER:
        return "is not a pack for this version of Python"
    start = int.from_bytes(mapping[len(HEADER) : len(HEADER) + 8], "little")
    index: Index = marshal.loads(mapping[start:])
    sys.meta_path.insert(0, PackFinder(index, memoryview(mapping)))
    return None


def write(path: str, modules: dict[str, tuple[CodeType, str, bool]]) -> int:
    """Writes a pack of modules, each its code, source file and whether it is a package; returns its bytes."""
    body = bytearray()
    index: Index = {}
    begin = len(HEADER) + 8
    for name, (code, origin, is_package) in modules.items():
        data = marshal.dumps(code)
        index[name] = (begin + len(body), len(data), origin, is_package)
        body += data
    content = HEADER + (begin + len(body)).to_bytes(8, "little") + body + marshal.dumps(index)
    with open(path, "wb") as stream:
        stream.write(content)
    return len(content)
