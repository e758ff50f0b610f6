"""What the standard library compiles from strings during imports, compiled when the image is built.

A dataclass writes its methods as source and compiles them, a named tuple its constructor, and every regular
expression is parsed: a tenth of a start's CPU time. The import pack holds the results by their texts, and
here the modules that compile are made to look there first. A text that the pack does not hold is compiled as
ever.

Imported before everything else that the pack holds: only what is built into the interpreter, as in
``import_pack``.
"""

import _sre  # type: ignore[import-not-found]
import builtins
import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import Any

    # Pattern and flags of a regular expression to what ``_sre.compile`` takes.
    Patterns = dict[tuple[str | bytes, int], tuple[Any, ...]]
    # A text to its marshalled code.
    Texts = dict[str, bytes]
    Patch = Callable[[ModuleType], None]

# Modules that compile texts, with the function that they call by its name, found in the module first.
COMPILING = {"collections": "eval", "dataclasses": "exec"}
EXPRESSIONS = "re._compiler"


def patches(content: bytes) -> "dict[str, Patch]":
    """Returns, by module, what to do to each that compiles once it has been imported.

    Args:
        content: as :func:`dump` made it, in the same version of Python.

    Raises:
        ValueError, EOFError, TypeError: it is something else.
    """
    texts: Texts
    patterns: Patterns
    texts, patterns = marshal.loads(content)  # noqa: S302 (as trusted as a .pyc)
    found: dict[str, Patch] = {EXPRESSIONS: lambda module: _take_patterns(module, patterns)}
    for name in COMPILING:
        found[name] = lambda module: _take_code(module, texts)
    return found


def _take_code(module: "ModuleType", texts: "Texts") -> None:
    name = COMPILING[module.__name__]
    run = getattr(builtins, name)
    loads = marshal.loads

    def run_compiled(text: "str | CodeType", *scopes: "Any") -> "Any":
        compiled = texts.get(text) if type(text) is str else None
        return run(text if compiled is None else loads(compiled), *scopes)

    setattr(module, name, run_compiled)


def _take_patterns(module: "ModuleType", patterns: "Patterns") -> None:
    parse: Callable[..., Any] = module.compile

    def compile_pattern(pattern: "Any", flags: int = 0) -> "Any":
        parsed = patterns.get((pattern, int(flags))) if type(pattern) in {str, bytes} else None
        return parse(pattern, flags) if parsed is None else _sre.compile(*parsed)

    module.compile = compile_pattern  # type: ignore[attr-defined]


def dump(codes: "dict[str, CodeType]", patterns: "Patterns") -> bytes:
    """Returns what :func:`patches` reads."""
    return marshal.dumps(({text: marshal.dumps(code) for text, code in codes.items()}, patterns))
