"""Imports from one file: the code of every module that a start imports, found by name.

A cold start imports some 450 modules. Python looks each up along its search path and opens, checks and reads
a file for it, which takes a fifth of the imports' time with everything in memory, and hundreds of small reads
where an image arrives chunk by chunk. ``scripts/image/pack_imports.py`` writes the pack when the image is
built; IMPORT_PACK names it. Modules keep their files as ``__file__``, and a module that is not in the pack is
imported as usual.

This module is imported before the pack is installed: it uses only what is built into the interpreter, and no
annotations from ``__future__``, which is a file of its own.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER, ExtensionFileLoader, SourceFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType

    from lambda_app.coldstart.compiled_strings import Patch

# What a pack begins with; the interpreter's own magic number follows: code of another version cannot run.
SIGNATURE = b"import-pack-3\n"
HEADER = SIGNATURE + MAGIC_NUMBER
# The index's length in bytes. The index follows it, where it is read with what the first modules need.
LENGTH = 8

# Module name to (offset, length, file, whether it is a package); offsets count from the end of the index. A
# length of 0 is an extension module, of which the pack has only the place.
Index = dict[str, tuple[int, int, str, bool]]
# The entry of what modules compile from strings, which is no module.
STRINGS = "<strings>"


class PackLoader(SourceFileLoader):
    """A source file's loader in all but where the code comes from."""

    def __init__(self, name: str, path: str, place: "tuple[int, int, int]", patch: "Patch | None") -> None:
        """Takes the pack's descriptor, and the code's offset and length in bytes; what to do after import."""
        super().__init__(name, path)
        self._place = place
        self._patch = patch

    def get_code(self, fullname: str) -> "CodeType | None":
        """Returns the module's code."""
        descriptor, offset, length = self._place
        code: CodeType = marshal.loads(posix.pread(descriptor, length, offset))  # as trusted as a .pyc
        return code

    def exec_module(self, module: "ModuleType") -> None:
        """Runs the module's code."""
        super().exec_module(module)
        if self._patch is not None:
            self._patch(module)


class PackFinder:
    """Finds packed modules by name, ahead of the search path."""

    def __init__(self, index: Index, descriptor: int, begin: int, patches: "dict[str, Patch]") -> None:
        """Takes the pack's index, a descriptor that stays open, and where the index ends.

        ``patches`` is what to do after some modules' import.
        """
        self._index = index
        self._descriptor = descriptor
        self._begin = begin
        self._patches = patches

    def find_spec(self, name: str, path: object = None, target: object = None) -> "ModuleSpec | None":
        """Returns the module's spec, or None where it is not packed."""
        entry = self._index.get(name)
        if entry is None:
            return None
        offset, length, origin, is_package = entry
        loader: SourceFileLoader | ExtensionFileLoader
        if length:
            place = self._descriptor, self._begin + offset, length
            loader = PackLoader(name, origin, place, self._patches.get(name))
        else:
            loader = ExtensionFileLoader(name, origin)
        spec = ModuleSpec(name, loader, origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.rpartition("/")[0]]
        return spec


def install(path: str) -> "str | None":
    """Makes the pack at ``path`` the first place that imports look at; once is enough.

    Returns:
        None, or why the pack was left alone; imports then go their usual way.
    """
    if any(isinstance(finder, PackFinder) for finder in sys.meta_path):
        return None
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    except (OSError, ValueError) as error:
        return f"cannot be read ({type(error).__name__})"
    try:
        start = posix.pread(descriptor, len(HEADER) + LENGTH, 0)
        if not start.startswith(HEADER):
            posix.close(descriptor)
            return "is not a pack for this version of Python"
        length = int.from_bytes(start[len(HEADER) :], "little")
        listed = posix.pread(descriptor, length, len(start))
        if len(start) < len(HEADER) + LENGTH or len(listed) < length:
            posix.close(descriptor)
            return "is cut off"
        index: Index = marshal.loads(listed)
        begin = len(start) + length
        offset, length, *_ = index.pop(STRINGS)
        strings = posix.pread(descriptor, length, begin + offset)
    except (OSError, ValueError, EOFError, TypeError, KeyError) as error:
        posix.close(descriptor)
        return f"cannot be read ({type(error).__name__})"
    patches: dict[str, Patch] = {}
    sys.meta_path.insert(0, PackFinder(index, descriptor, begin, patches))
    # From the pack, as everything else.
    from lambda_app.coldstart import compiled_strings

    try:
        patches.update(compiled_strings.patches(strings))
    except (ValueError, EOFError, TypeError) as error:
        del sys.meta_path[0]
        posix.close(descriptor)
        return f"cannot be read ({type(error).__name__})"
    for name in patches.keys() & sys.modules.keys():
        patches[name](sys.modules[name])
    return None


def write(path: str, modules: "dict[str, tuple[CodeType | None, str, bool]]", strings: bytes) -> int:
    """Writes a pack of modules, each its code, file and whether it is a package; returns its bytes.

    An extension module has no code. The code comes in the order given: what is imported first is read first,
    ``strings`` (:func:`compiled_strings.dump`) before all, and the index before that.
    """
    body = bytearray(strings)
    index: Index = {STRINGS: (0, len(strings), "", False)}
    for name, (code, origin, is_package) in modules.items():
        data = b"" if code is None else marshal.dumps(code)
        index[name] = (len(body), len(data), origin, is_package)
        body += data
    listed = marshal.dumps(index)
    content = HEADER + len(listed).to_bytes(LENGTH, "little") + listed + body
    with open(path, "wb") as stream:
        stream.write(content)
    return len(content)
