"""Records what the standard library compiles from strings during imports, for the import pack.

:func:`recorded` imports modules in a process of its own, in which the modules that compile
(``lambda_app/coldstart/compiled_strings.py``) note each text and its result.
"""

from __future__ import annotations

import marshal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from lambda_app.coldstart import compiled_strings

# As the image's program runs, see pack_imports.py. Writes the codes by their texts and the regular
# expressions by theirs, marshalled. Texts are noted for each module that compiles, by its name.
SCRIPT = """
import sys
sys.path[:0] = [{root!r}]
sys.path.append({packages!r})
import builtins, importlib, marshal

codes = {{name: {{}} for name in {compiling!r}}}
def note(module, name):
    run = getattr(builtins, name)
    def noting(text, *scopes):
        code = compile(text, "<string>", name, dont_inherit=True)
        codes[module.__name__][text] = code
        return run(code, *scopes)
    setattr(module, name, noting)
# In this order, because the later ones import modules that compile by means of the earlier ones.
note(importlib.import_module("collections"), {compiling!r}["collections"])
compiler = importlib.import_module({expressions!r})
patterns = {{}}
parse, sre = compiler.compile, compiler._sre
class Noting:
    def __getattr__(self, name):
        return getattr(sre, name)
    def compile(self, pattern, flags, code, groups, names, order):
        self.last = pattern, int(flags), [int(one) for one in code], groups, dict(names), tuple(order)
        return sre.compile(pattern, flags, code, groups, names, order)
compiler._sre = Noting()
def compile_pattern(pattern, flags=0):
    found = parse(pattern, flags)
    if type(pattern) in (str, bytes):
        patterns[pattern, int(flags)] = compiler._sre.last
    return found
compiler.compile = compile_pattern
# As ``re`` itself does, which was imported before its compiler.
compile_pattern("", 0)
for name, function in {compiling!r}.items():
    if name != "collections":
        note(importlib.import_module(name), function)

for name in {names!r}:
    importlib.import_module(name)
sys.stdout.buffer.write(marshal.dumps((codes, patterns)))
"""


class RecordError(Exception):
    """A module of the standard library does not compile as it did: a new version of Python has changed it."""


def recorded(root: Path, packages: str, names: Sequence[str]) -> bytes:
    """Returns what is compiled while the modules are imported, for :func:`import_pack.write`.

    Raises:
        RecordError: nothing was compiled by a module that is known to.
        subprocess.CalledProcessError: a module could not be imported.
    """
    script = SCRIPT.format(
        root=str(root),
        packages=packages,
        names=tuple(names),
        compiling=compiled_strings.COMPILING,
        expressions=compiled_strings.EXPRESSIONS,
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", script]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    codes, patterns = marshal.loads(result.stdout)  # noqa: S302 (of our own process)
    for module, found in {**codes, compiled_strings.EXPRESSIONS: patterns}.items():
        if not found:
            raise RecordError(f"{module} compiled nothing during the imports: see {Path(__file__).name}")
    texts = {text: code for found in codes.values() for text, code in found.items()}
    return compiled_strings.dump(texts, patterns)
